"""Whether transfer helped: the best plan against a control, on the pool and the report split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import optimize, special

from tlsweep.verdict.evidence import (
    Evidence,
    SeedVariance,
    Table,
    contenders,
    correlation,
    explained,
    luck_of_labels,
    luck_of_seeds,
    quantile,
    seed_variance,
    seed_variance_of,
)
from tlsweep.verdict.rule import drawn_in

SHARES = (np.arange(32) + 0.5) / 32  # of the values that a variance may have
POWER = 0.8  # with which a study would have shown the difference that it is said to detect
MATTERS = 0.05  # a study that cannot detect a difference of this size is called blind

Outcome = Literal["effect", "harm", "none shown", "blind"]


@dataclass(frozen=True)
class Contrast:
    """Score of the best plan less a control's.

    low, high: two-sided interval; detectable: the smallest true difference that this study would
    have shown with a power of 80 %; outcome: what may be said.
    """

    control: str
    difference: float
    low: float
    high: float
    detectable: float
    outcome: Outcome


def contrast(
    plans: Sequence[Evidence],
    best: Evidence,
    control: Evidence,
    report: tuple[Table, Table] | None,
    confidence: float = 0.95,
) -> Contrast:
    """The best plan against a control, on the examples of the pool and of the report split.

    plans: all that are known, for the seeds' variance and for the luck of the best: it is the best
    of many on the same examples, so that its score there is drawn in as ``best`` draws it. What
    the labelled images have of that luck its final models have too: they learn from the same ones.
    report: scores [replicates, examples] of the best and of the control, None before they are
    there. Both estimates count by their precision (the pool's with the variance of correlated
    folds, Nadeau and Bengio 2003), and another draw of the labelled images would move both.
    Raises ValueError if the two share no fold, or answered different examples of the report split.
    """
    known, way = contenders(plans)
    folds = way & control.folds
    if not folds:
        raise ValueError(f"{best.name} and {control.name} have no fold in common")
    seeds = seed_variance([*known, *(p for p in plans if p.control and p.folds >= folds)], folds)
    place = [plan is best for plan in known].index(True)
    drawn = drawn_in(known, way, seeds)
    luck = max(0.0, float(drawn.score_p[place] - drawn.true_p[place]))
    d_n = best.score_n(folds) - control.score_n(folds)
    d_n = d_n[~np.isnan(d_n)]
    pair = (best, control)
    if report is not None:
        for plan, table in zip(pair, report, strict=True):
            seeds = _with_report(seeds, plan, table)
    of_seeds = [luck_of_seeds(plan, folds, seeds) for plan in pair]
    parts = [_Part(float(d_n.mean()) - luck, correlation(best, folds), d_n, of_seeds)]
    of_labels = 0.0  # on the pool the variance of correlated folds has room for it
    if report is not None:
        luck *= float(drawn.of_labels_p[place])
        parts.append(_of_report(report, of_seeds, len(folds), luck))
        of_labels = sum(
            luck_of_labels(plan, np.atleast_2d(table))
            for plan, table in zip(pair, report, strict=True)
        )
    return _combined(control.name, parts, of_labels, confidence)


def outcome_of(low: float, high: float, detectable: float) -> Outcome:
    """What may be said of a difference: a missing effect and a blind study are told apart."""
    if low > 0:
        return "effect"
    if high < 0:
        return "harm"
    return "blind" if detectable > MATTERS else "none shown"


@dataclass(frozen=True)
class _Part:
    """An estimate: its difference, that of each example, how often their variance counts, seeds."""

    difference: float
    times: float
    d_n: Table
    of_seeds: list[SeedVariance]

    @property
    def of_examples(self) -> float:
        n = len(self.d_n)
        own = float(self.d_n.var(ddof=1)) / n if n > 1 else 0.0
        return self.times * max(own, (0.5 / n) ** 2)

    @property
    def variance(self) -> float:
        return explained(self.of_examples, len(self.d_n), self.of_seeds)[0]


def _with_report(
    seeds: dict[str, SeedVariance], plan: Evidence, table: Table
) -> dict[str, SeedVariance]:
    """What is known of seeds, with what the final trainings of a plan add to its kind."""
    if plan.deterministic or len(np.atleast_2d(table)) < 2:
        return seeds
    known = seeds.get(plan.kind)
    added = seed_variance_of(table, alone=known is None)
    return {**seeds, plan.kind: added if known is None else known.pooled(added)}


def _of_report(
    report: tuple[Table, Table], of_seeds: list[SeedVariance], folds: int, luck: float
) -> _Part:
    """The report split's estimate. luck: of the best there, which is taken off."""
    first, second = (np.atleast_2d(table) for table in report)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{first.shape[1]} and {second.shape[1]} examples cannot be paired")
    d_n = first.mean(0) - second.mean(0)
    rows = (len(first), len(second))
    again = [part.of(folds / n) for part, n in zip(of_seeds, rows, strict=True)]
    return _Part(float(d_n.mean()) - luck, 1.0, d_n, again)


def _combined(name: str, parts: list[_Part], of_labels: float, confidence: float) -> Contrast:
    """of_labels: variance by the draw of the labelled images, the same in all parts."""
    variance = 1 / sum(1 / part.variance for part in parts)
    weights = [variance / part.variance for part in parts]
    difference = sum(w * part.difference for w, part in zip(weights, parts, strict=True))
    of_examples = [w**2 * part.of_examples for w, part in zip(weights, parts, strict=True)]
    uncertain = sum(
        of_one**2 / max(1, len(part.d_n) - 1)
        for of_one, part in zip(of_examples, parts, strict=True)
    )
    # both parts know the seeds from the same few replicates: what is wrong in one is in the other
    of_seeds = [
        SeedVariance(
            sum(w**2 * luck.value for w, luck in zip(weights, of_one, strict=True)),
            sum(w**2 * luck.seen for w, luck in zip(weights, of_one, strict=True)),
            of_one[0].freedom,
        )
        for of_one in zip(*(part.of_seeds for part in parts), strict=True)
    ]
    may_be_v = sum(of_examples) + of_labels + may_be(of_seeds)
    freedom_v = np.maximum(1.0, may_be_v**2 / uncertain)
    half = half_width(may_be_v, freedom_v, confidence)
    error = math.sqrt(variance + of_labels)
    detectable = half + quantile(POWER, math.inf) * error
    low, high = difference - half, difference + half
    return Contrast(name, difference, low, high, detectable, outcome_of(low, high, detectable))


def may_be(of_seeds: Sequence[SeedVariance]) -> Table:
    """What seeds may give of a variance, from few replicates: values that are equally likely.

    A variance that was seen with so many degrees of freedom is a scaled inverse chi-square; what
    chance gives of it is known.
    """
    found_v = np.zeros(1)
    for luck in of_seeds:
        if luck.value <= 0 or luck.freedom == math.inf:
            found_v = found_v + luck.value
            continue
        freedom = max(1.0, luck.freedom)  # pooled from unlike parts it may be next to none
        seen_v = luck.seen * freedom / special.chdtri(freedom, SHARES)
        value_v = np.maximum(0.0, seen_v - (luck.seen - luck.value))
        found_v = (found_v[:, None] + value_v).ravel()
    return found_v


def half_width(variance_v: Table, freedom_v: Table, confidence: float) -> float:
    """Half of the interval of an error whose variance may be any of these.

    Where seeds are all of it that is Student's interval; where they are little of it, a variance
    known from two replicates does not make the whole as uncertain as they are.
    """
    error_v, outside = np.sqrt(variance_v), (1 - confidence) / 2

    def too_often(half: float) -> float:
        return float(special.stdtr(freedom_v, -half / error_v).mean()) - outside

    widest = float((special.stdtrit(freedom_v, 1 - outside) * error_v).max())
    return widest if len(error_v) == 1 else float(optimize.brentq(too_often, 0.0, 2 * widest))
