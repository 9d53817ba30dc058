"""Whether another cut point is better where examples differ from those that were learned from.

A shift's examples are halved at random: one half chooses among the frozen plans, the other compares
that choice with the recommended plan, example by example. So no example that chose is quoted.
Shifts are looked at several at a time: intervals of their differences hold for all of them at once
(Bonferroni). Early cut points were best for noise, late ones for blur, in Lee et al. 2023
("Surgical Fine-Tuning Improves Adaptation to Distribution Shifts").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tlsweep.verdict.evidence import Table
from tlsweep.verdict.intervals import Interval
from tlsweep.verdict.told import Told
from tlsweep.verdict.tried import Tried, cost_of


@dataclass(frozen=True)
class ShiftedScores:
    """What plans score on the examples of one shift.

    versions: what its strengths are called; chooses_n: which examples choose; plans: each with its
    example scores [versions, examples], the recommended one first, then the frozen ones.
    """

    name: str
    versions: tuple[str, ...]
    chooses_n: NDArray[np.bool_]
    plans: Sequence[tuple[Tried, Table]]


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
    the frozen plan that one half of the examples chose; judged: examples of the other half, which
    score both; recommended, other: their mean scores over all versions; gain: how much better the
    other plan is; better: whether that is beyond chance, all shifts considered; curve: the frozen
    cut points.
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
    better: bool
    curve: list[ShiftedPoint]


def shifted_answers(scored: Sequence[ShiftedScores], told: Told) -> list[ShiftedAnswer]:
    """The answer to each shift. told: the metric, and the confidence of all of them together."""
    each = replace(told, confidence=1 - (1 - told.confidence) / max(1, len(scored)))
    return [_answer(one, told, each) for one in scored]


def _answer(one: ShiftedScores, told: Told, of_gain: Told) -> ShiftedAnswer:
    recommended, own_vn = one.plans[0]
    halves = one.chooses_n, ~one.chooses_n
    if not all(half.any() for half in halves):  # a single example, or copies of one
        halves = np.ones_like(one.chooses_n), np.ones_like(one.chooses_n)
    chooses, judges = halves
    other, other_vn = min(one.plans, key=lambda plan: _order(plan, chooses))
    own_n, other_n = own_vn[:, judges].mean(0), other_vn[:, judges].mean(0)
    gain = of_gain.difference(other_n[None], own_n[None])
    frozen = [plan for plan in one.plans if plan[0].evidence.deterministic]
    return ShiftedAnswer(
        name=one.name,
        examples=own_vn.shape[1],
        versions=[
            _told(name, told.model_score(score_n))
            for name, score_n in zip(one.versions, own_vn, strict=True)
        ],
        source=other.facts.source,
        cut=other.facts.keep_name,
        overrides=list(other.overrides),
        judged=int(judges.sum()),
        recommended=_told("recommended", told.mean_score(own_n)),
        other=_told("other", told.mean_score(other_n)),
        gain=gain,
        better=other is not recommended and halves[0] is one.chooses_n and gain.low > 0,
        curve=[_point(plan, told) for plan in sorted(frozen, key=_place)],
    )


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
