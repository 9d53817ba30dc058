"""Whether another cut point is better where examples differ from those that were learned from.

A shift's examples are halved at random: one half chooses among the frozen plans, the other compares
that choice with the recommended plan, example by example. So no example that chose is quoted.
Another plan is called better there only if its gain is larger than on the report split, too: many
examples may choose better than few labels did, without any shift. Shifts are looked at several at a
time: intervals of their differences hold for all of them at once (Bonferroni).

Early cut points were best for noise, late ones for blur, in Lee et al. 2023 ("Surgical Fine-Tuning
Improves Adaptation to Distribution Shifts").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlsweep.verdict.evidence import Table, quantile
from tlsweep.verdict.intervals import Interval
from tlsweep.verdict.told import Told
from tlsweep.verdict.tried import Tried, cost_of


@dataclass(frozen=True)
class ShiftedScores:
    """What plans score on the examples of one shift.

    versions: what its severities are called; chooses_n: which examples choose; own_vn: example
    scores of the recommended plan [versions, examples]; plans: each with its example scores, those
    of each half by themselves, the recommended one first, then the frozen ones; of_report: whether
    the examples are those of the report split, in its order.
    """

    name: str
    versions: tuple[str, ...]
    chooses_n: NDArray[np.bool_]
    own_vn: Table
    plans: Sequence[tuple[Tried, Table]]
    of_report: bool = False


@dataclass(frozen=True)
class ShiftedScore:
    """A score of a plan on shifted examples, in the metric's own unit."""

    name: str
    score: float
    interval: list[float]


@dataclass(frozen=True)
class ShiftedPoint:
    """The score of a frozen cut point over all versions of a shift."""

    source: str
    cut: str
    index: int
    score: float
    interval: list[float]


@dataclass(frozen=True)
class ShiftedAnswer:
    """How the recommended plan does where examples differ, and whether another one is better.

    examples: of each version; versions: scores of the recommended plan; source, cut, overrides: of
    the frozen plan that one half of the examples chose; judged: examples of the other half;
    recommended: mean score of the recommended plan over all versions and examples; other: of the
    other plan, on those that judge; gain: how much better that is than the recommended one, on
    those that judge; excess: how much larger the gain is than on the report split; better: whether
    both are beyond chance, all shifts considered; curve: the frozen cut points.
    """

    name: str
    examples: int
    versions: list[ShiftedScore]
    source: str
    cut: str
    overrides: list[str]
    judged: int
    recommended: ShiftedScore
    other: ShiftedScore
    gain: Interval
    excess: Interval
    better: bool
    curve: list[ShiftedPoint]


def shifted_answers(
    scored: Sequence[ShiftedScores], told: Told, report: Mapping[int, Table]
) -> list[ShiftedAnswer]:
    """The answer to each shift.

    told: the metric, and the confidence of all of them together; report: example scores on the
    report split of each plan, by the id of its evidence.
    """
    each = replace(told, confidence=1 - (1 - told.confidence) / max(1, len(scored)))
    return [_answer(one, told, each, report) for one in scored]


def _answer(
    one: ShiftedScores, told: Told, of_gain: Told, report: Mapping[int, Table]
) -> ShiftedAnswer:
    recommended, own_vn = one.plans[0]
    chooses = judges = np.ones_like(one.chooses_n)
    halved = bool(one.chooses_n.any() and not one.chooses_n.all())
    if halved:  # else it is a single example, or copies of one
        chooses, judges = one.chooses_n, ~one.chooses_n
    other, other_vn = min(one.plans, key=lambda plan: _order(plan, chooses))
    own_n, other_n = own_vn[:, judges].mean(0), other_vn[:, judges].mean(0)
    gain = of_gain.difference(other_n[None], own_n[None])
    usual_n = report[id(other.evidence)] - report[id(recommended.evidence)]
    excess = of_gain.gain(
        _excess(other_n - own_n, usual_n, judges if one.of_report else None, of_gain.confidence)
    )
    frozen = [plan for plan in one.plans if plan[0].evidence.deterministic]
    return ShiftedAnswer(
        name=one.name,
        examples=own_vn.shape[1],
        versions=[
            _told(name, told.model_score(score_n))
            for name, score_n in zip(one.versions, one.own_vn, strict=True)
        ],
        source=other.facts.source,
        cut=other.facts.keep_name,
        overrides=list(other.overrides),
        judged=int(judges.sum()),
        recommended=_told("recommended", told.mean_score(one.own_vn.mean(0))),
        other=_told("other", told.mean_score(other_n)),
        gain=gain,
        excess=excess,
        better=halved and other is not recommended and gain.low > 0 and excess.low > 0,
        curve=[_point(plan, told) for plan in sorted(frozen, key=_place)],
    )


def _excess(
    there_n: Table, here_n: Table, paired: NDArray[np.bool_] | None, confidence: float
) -> Interval:
    """How much larger the mean gain is there than here, with Student's interval.

    there_n, here_n: gain of each example there and on the report split; paired: which examples of
    the report split those there are, in their order; None where they are others.
    """
    if paired is not None:
        there_n, here_n = there_n - here_n[paired], np.zeros(2)
    found = float(there_n.mean() - here_n.mean())
    if min(len(there_n), len(here_n)) < 2:
        return Interval(found, -math.inf, math.inf)
    error = math.sqrt(there_n.var(ddof=1) / len(there_n) + here_n.var(ddof=1) / len(here_n))
    half = quantile((1 + confidence) / 2, len(there_n) - 1) * error
    return Interval(found, found - half, found + half)


def _order(plan: tuple[Tried, Table], chooses: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Best first: by the mean score of those that choose, then by cost."""
    tried, score_vn = plan
    return -round(float(score_vn[:, chooses].mean()), 12), *cost_of(tried.facts)


def _place(plan: tuple[Tried, Table]) -> tuple[str, int]:
    return plan[0].facts.source, plan[0].facts.plan.keep


def _point(plan: tuple[Tried, Table], told: Told) -> ShiftedPoint:
    tried, score_vn = plan
    own = told.mean_score(score_vn.mean(0))
    f = tried.facts
    return ShiftedPoint(f.source, f.keep_name, f.plan.keep, own.score, own.as_list())


def _told(name: str, found: Interval) -> ShiftedScore:
    return ShiftedScore(name, found.score, found.as_list())
