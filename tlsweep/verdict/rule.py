"""Which plan is best, which cheaper one is as good, and which can no longer become either.

Pure: from the evidence of the labels that may choose. The report split is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlsweep.verdict.evidence import (
    Comparison,
    Evidence,
    Seeds,
    Table,
    compare,
    contenders,
    luck_of_labels,
    luck_of_seeds,
    seed_variance,
)

DRAWS = 4000  # of scores as they may truly be, for the probability of each plan to be the best
MOST_IMAGES = 20  # times the pool: where more would be needed, more may not show it
DROPPED_AT = 0.99  # one-sided confidence with which a plan is given up between folds
LEAST_SPREAD = 0.005  # of true scores: candidates are never taken to be all equal
TRAINED_SPREAD = 0.02  # the same of trained plans alone


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

    Scores of trained plans are drawn to the mean of the trained plans by the share of luck in them
    (empirical Bayes; Efron and Morris 1975): in simulated worlds that errs less than the highest
    score, the more so the more seeds vary, save where tuning is far the best. Log loss and scores
    smoothed over neighbouring cut points won some .1 points on real frozen heads; they do not
    decide, since losses of trained plans and of heads are not alike and a sharp peak is smoothed
    away (tests/benchmarks/truth.md). Ties: the lower loss, then the lower cost, then the name.
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
    drawn_p = drawn_in(plans, folds, seeds).true_p

    def key(place: int) -> tuple[float, float, tuple[float, float], str]:
        plan = plans[place]
        # rounded: sums of the same numbers in another order differ in their last digit
        loss = round(float(np.nanmean(plan.loss_n(folds))), 12)
        return -round(float(drawn_p[place]), 12), loss, plan.cost, plan.name

    return [plans[place] for place in sorted(range(len(plans)), key=key)]


@dataclass(frozen=True)
class Drawn:
    """What scores are worth.

    score_p: on ``folds``, as hard as all folds are; true_p: as they are to be expected; left_pp:
    covariance of what is left unknown; of_labels_p: the share that the labelled images have in a
    score's luck.
    """

    score_p: Table
    true_p: Table
    left_pp: Table
    of_labels_p: Table


def drawn_in(plans: Sequence[Evidence], folds: frozenset[int], seeds: Seeds) -> Drawn:
    """Scores without their luck, of examples, of seeds and of which images were labelled.

    Twice empirical Bayes: trained plans are drawn to their own mean (a lone one to that of all),
    each by the share of luck in it, then all plans to the mean of all, by one share, which changes
    no order. Frozen plans count on all folds that they have, trained ones on ``folds``, corrected
    for how much harder or easier these are for the frozen ones.
    """
    scores_pn = np.stack([plan.score_n(folds) for plan in plans])
    scores_pn = scores_pn[:, ~np.isnan(scores_pn[0])]
    n = scores_pn.shape[1]
    seen_p, score_p, share_p = _on_own_folds(plans, scores_pn)
    seeds_p = np.array([luck_of_seeds(plan, folds, seeds).value for plan in plans])
    if len(plans) == 1 or n == 1:
        return Drawn(seen_p, score_p, np.diag(seeds_p), np.zeros_like(seen_p))
    # what is hard for all plans does not tell them apart
    examples_pp = np.cov(scores_pn - scores_pn.mean(0)) / n
    of_examples = float(np.diag(examples_pp).mean()) * share_p
    examples_pp *= np.sqrt(share_p[:, None] * share_p)
    trained = np.array([not plan.deterministic for plan in plans])
    labels_p = np.array([luck_of_labels(plan, plan.scores_rn) for plan in plans])
    luck_p = of_examples + seeds_p + labels_p
    kept_p = np.ones_like(score_p)
    if trained.any():
        # a lone one has no mean of its own
        among = trained if trained.sum() > 1 else np.full_like(trained, True)
        kept_p[among] = _kept(score_p[among], luck_p[among], TRAINED_SPREAD)
        kept_p[~trained] = 1.0
        score_p = score_p[among].mean() + (score_p - score_p[among].mean()) * kept_p
    kept = _kept(score_p, np.full_like(luck_p, luck_p.mean()), LEAST_SPREAD)
    centre = score_p.mean()
    left_pp = (examples_pp + np.diag((seeds_p + labels_p) * kept_p)) * kept.mean()
    return Drawn(seen_p, centre + (score_p - centre) * kept, left_pp, labels_p / luck_p)


def _on_own_folds(plans: Sequence[Evidence], scores_pn: Table) -> tuple[Table, Table, Table]:
    """Mean scores on common folds and on each plan's own [p], the former as hard as the latter.

    Then the share of the luck of examples that is left where there are more. scores_pn: on the
    folds that all plans have.
    """
    score_p, n = scores_pn.mean(1), scores_pn.shape[1]
    frozen = [place for place, plan in enumerate(plans) if plan.deterministic]
    if not frozen:
        return score_p, score_p, np.ones_like(score_p)
    more = frozenset.intersection(*(plans[place].folds for place in frozen))
    own_fn = np.stack([plans[place].score_n(more) for place in frozen])
    own_fn = own_fn[:, ~np.isnan(own_fn[0])]
    common_p = score_p + own_fn.mean() - score_p[frozen].mean()
    own_p = common_p.copy()
    own_p[frozen] = own_fn.mean(1)
    share_p = np.ones_like(score_p)
    share_p[frozen] = n / own_fn.shape[1]
    return common_p, own_p, share_p


def _kept(score_p: Table, luck_p: Table, least: float) -> Table:
    """The share of each distance from the mean that is not luck."""
    spread = max(float(score_p.var(ddof=1) - luck_p.mean()), least**2)
    kept: Table = spread / (spread + luck_p)
    return kept


def _beliefs(plans: Sequence[Evidence], folds: frozenset[int], seeds: Seeds) -> tuple[Table, Table]:
    """Of each plan the probability that it is the best, and what taking it is expected to lose.

    From normal draws of all true scores at once (``drawn_in``).
    """
    rng = np.random.default_rng(0)  # the same evidence gives the same numbers
    drawn = drawn_in(plans, folds, seeds)
    true_dp = rng.multivariate_normal(drawn.true_p, drawn.left_pp, size=DRAWS, method="eigh")
    best_d = true_dp.argmax(1)
    p_best = np.bincount(best_d, minlength=len(plans)) / DRAWS
    return p_best, (true_dp.max(1, keepdims=True) - true_dp).mean(0)


def _times_more(comparison: Comparison, margin: float, confidence: float) -> float:
    """How many times the examples would show a loss within the margin; inf where none would.

    The error shrinks with the root of their number.
    """
    room = margin - comparison.difference
    if room <= 0:
        return math.inf
    times = (comparison.at_most(confidence) - comparison.difference) / room
    return times * times  # infinite where ``times ** 2`` would raise
