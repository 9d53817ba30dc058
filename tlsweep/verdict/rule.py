"""Which plan is best, which cheaper one is as good, and which can no longer become either.

Pure: from the evidence of the labels that may choose. The report split is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from tlsweep.verdict.evidence import (
    Comparison,
    Evidence,
    Seeds,
    Table,
    compare,
    contenders,
    luck_of_seeds,
    seed_variance,
)
from tlsweep.verdict.intervals import differences_from

DRAWS = 4000  # of scores as they may truly be, for the probability of each plan to be the best
MOST_IMAGES = 20  # times the pool: where more would be needed, more may not show it
DROPPED_AT = 0.99  # one-sided confidence with which a plan is given up between folds
LEAST_SPREAD = 0.005  # of true scores: candidates are never taken to be all equal


@dataclass(frozen=True)
class Ranked:
    """What a candidate is worth beside the best one.

    comparison: the best one's score less its own; None of the best one itself; p_best: probability
    that it is the best of all candidates; expected_loss: mean score that taking it would give up
    against the truly best one.
    """

    plan: Evidence
    score: float
    comparison: Comparison | None
    p_best: float
    expected_loss: float


@dataclass(frozen=True)
class Recommendation:
    """The best plan, and the cheaper one that is as good, where the data show one.

    ranked: all candidates that went the whole way, best first; more_images: about how many labelled
    examples the pool would need to show that a cheaper plan is as good, where its estimate says so
    and its bound does not; None where there is no such plan, or where more may not show it.
    """

    best: Evidence
    cheaper: Evidence | None
    ranked: tuple[Ranked, ...]
    more_images: int | None

    @property
    def recommended(self) -> Evidence:
        """The cheaper plan where the data show that it is as good, else the best."""
        return self.cheaper or self.best


def best(plans: Sequence[Evidence]) -> Evidence:
    """The candidate with the highest score on the folds that all candidates have.

    Scores are drawn to their mean by the share of luck in them (empirical Bayes; Efron and Morris
    1975), seeds' luck too: in simulated worlds that chooses better the more seeds vary and no worse
    where they do not. The log loss, a mixture of both and scores smoothed over neighbouring cut
    points chose no better on real data (tests/benchmarks/truth.md). Ties: the lower loss, then the
    lower cost, then the name.
    Raises ValueError if there is no candidate.
    """
    known, way = contenders(plans)
    return _order(known, way, seed_variance(known, way))[0]


def recommend(
    plans: Sequence[Evidence], margin: float = 0.02, confidence: float = 0.90
) -> Recommendation:
    """The best plan, and the cheapest one that is shown to be at most ``margin`` below it.

    Shown: the one-sided bound of the difference, at ``confidence``, is at most ``margin``. Cheap:
    FLOPs of a forward pass, then trained parameters. Raises ValueError if there is no candidate.
    """
    known, way = contenders(plans)
    seeds = seed_variance(known, way)
    first, *others = _order(known, way, seeds)
    compared = [compare(first, plan, seeds) for plan in others]
    saving = [(p, c) for p, c in zip(others, compared, strict=True) if p.cost < first.cost]
    shown = [plan for plan, c in saving if c.at_most(confidence) <= margin]
    cheaper = min(shown, key=lambda plan: plan.cost, default=None)
    more = None
    if cheaper is None:
        times = min((_times_more(c, margin, confidence) for _, c in saving), default=math.inf)
        if times <= MOST_IMAGES:
            more = math.ceil(times * first.scores_rn.shape[1])
    p_best, losses = _beliefs([first, *others], way, seeds)
    ranked = tuple(
        Ranked(plan, _score(plan, way), comparison, float(p), float(lost))
        for plan, comparison, p, lost in zip(
            [first, *others], [None, *compared], p_best, losses, strict=True
        )
    )
    return Recommendation(first, cheaper, ranked, more)


def may_still_win(plans: Sequence[Evidence], plan: Evidence, margin: float = 0.02) -> bool:
    """Whether a plan that was scored on few folds can still become the best, or as good.

    plans: all that are known so far, itself among them. It is compared with the candidate that
    leads on its own folds: given up where it lacks something for sure (``DROPPED_AT``), or, if it
    is cheaper, more than ``margin`` for sure. Controls are never given up.
    """
    rivals = [p for p in plans if p is not plan and not p.control and p.folds >= plan.folds]
    if plan.control or not rivals:
        return True
    seeds = seed_variance([*rivals, plan], plan.folds)
    leader = _order(rivals, plan.folds, seeds)[0]
    allowed = margin if plan.cost < leader.cost else 0.0
    return compare(leader, plan, seeds).at_least(DROPPED_AT) <= allowed


def _score(plan: Evidence, folds: frozenset[int]) -> float:
    return float(np.nanmean(plan.score_n(folds)))


def _order(plans: Sequence[Evidence], folds: frozenset[int], seeds: Seeds) -> list[Evidence]:
    """Best first: by drawn in score, then loss, cost and name."""
    drawn_p = drawn_in(plans, folds, seeds)[0]

    def key(place: int) -> tuple[float, float, tuple[float, float], str]:
        plan = plans[place]
        # rounded: sums of the same numbers in another order differ in their last digit
        loss = round(float(np.nanmean(plan.loss_n(folds))), 12)
        return -round(float(drawn_p[place]), 12), loss, plan.cost, plan.name

    return [plans[place] for place in sorted(range(len(plans)), key=key)]


def drawn_in(
    plans: Sequence[Evidence], folds: frozenset[int], seeds: Seeds
) -> tuple[Table, Table, Table]:
    """Scores [p] drawn to their mean by the share of luck in them.

    Frozen plans are all drawn alike, so that their order stays; a plan that varies over seeds is
    drawn the more. How far true scores spread is what luck leaves of the spread that is seen.
    Returns too what was kept of each distance [p], and the luck's covariance [p, p].
    """
    scores_pn = np.stack([plan.score_n(folds) for plan in plans])
    scores_pn = scores_pn[:, ~np.isnan(scores_pn[0])]
    score_p, n = scores_pn.mean(1), scores_pn.shape[1]
    seeds_p = np.array([luck_of_seeds(plan, folds, seeds).value for plan in plans])
    if len(plans) == 1 or n == 1:
        return score_p, np.ones_like(score_p), np.diag(seeds_p)
    # what is hard for all plans does not tell them apart
    examples_pp = np.cov(scores_pn - scores_pn.mean(0)) / n
    luck_p = np.diag(examples_pp).mean() + seeds_p
    spread = max(float(score_p.var(ddof=1) - luck_p.mean()), LEAST_SPREAD**2)
    kept_p = spread / (spread + luck_p)
    drawn_p = score_p.mean() + (score_p - score_p.mean()) * kept_p
    return drawn_p, kept_p, examples_pp + np.diag(seeds_p)


def _beliefs(plans: Sequence[Evidence], folds: frozenset[int], seeds: Seeds) -> tuple[Table, Table]:
    """Of each plan the probability that it is the best, and what taking it is expected to lose.

    From draws of all true scores at once: normal about the drawn in scores, with the covariance of
    the luck, of which as much is left as was kept (the posterior of the normal model).
    """
    drawn_p, kept_p, covariance_pp = drawn_in(plans, folds, seeds)
    left_pp = covariance_pp * np.sqrt(kept_p[:, None] * kept_p)
    rng = np.random.default_rng(0)  # the same evidence gives the same numbers
    true_dp = rng.multivariate_normal(drawn_p, left_pp, size=DRAWS, method="eigh")
    best_d = true_dp.argmax(1)
    p_best = np.bincount(best_d, minlength=len(plans)) / DRAWS
    return p_best, true_dp.max(1).mean() - true_dp.mean(0)


def _times_more(comparison: Comparison, margin: float, confidence: float) -> float:
    """How many times the examples would show a loss within the margin; inf where none would.

    The error shrinks with the root of their number.
    """
    room = margin - comparison.difference
    if room <= 0:
        return math.inf
    return ((comparison.at_most(confidence) - comparison.difference) / room) ** 2


Rule = Literal["smallest_not_worse", "one_standard_error", "best"]
ONE_STANDARD_ERROR = 0.6827  # the confidence of an interval of one standard error to both sides


class Candidate(Protocol):
    """A plan that was trained several times."""

    @property
    def select_hits(self) -> npt.NDArray[np.bool_]:
        """[replicates, images of the select split]"""

    @property
    def size(self) -> tuple[int, ...]:
        """What to be small in, the most important first."""


C = TypeVar("C", bound=Candidate)


def choose(candidates: Sequence[C], rule: Rule, confidence: float = 0.95) -> C:
    """The recommended one of ``candidates``.

    best: the highest accuracy. smallest_not_worse: the smallest of those that the best does not
    beat by more than the interval of their difference. one_standard_error: the same with an
    interval of one standard error (Breiman et al. 1984, section 3.4.3), which gives up less
    accuracy for a small prefix. Raises ValueError if there is no candidate.
    """
    if not candidates:
        raise ValueError("no candidate to choose from")
    best = max(candidates, key=lambda c: (float(c.select_hits.mean()), [-s for s in c.size]))
    if rule == "best":
        return best
    level = ONE_STANDARD_ERROR if rule == "one_standard_error" else confidence
    intervals = differences_from(best.select_hits, [c.select_hits for c in candidates], level)
    not_worse = [c for c, d in zip(candidates, intervals, strict=True) if c is best or d.low <= 0]
    return min(not_worse, key=lambda c: (c.size, -float(c.select_hits.mean())))
