"""A plan, how it answered held-out examples, and how it scored on the report split."""

from __future__ import annotations

from dataclasses import dataclass

from tlsweep.facts import Facts
from tlsweep.plan import TransferPlan
from tlsweep.terms import BlockState
from tlsweep.verdict.evidence import Evidence, Table


@dataclass(frozen=True, eq=False)
class Tried:
    """A plan with what is known of it.

    facts: the plan, in its cut points, and its cost; overrides: what to write for just this plan;
    controls: the control names that it answers to; evidence: example scores out of fold; report_rn:
    example scores [seeds, report images] of the final trainings, None where there were none;
    settled: whether its trainings ended because their loss had settled.
    """

    facts: Facts
    overrides: tuple[str, ...]
    controls: tuple[str, ...]
    evidence: Evidence
    report_rn: Table | None = None
    settled: bool = True


def cost_of(facts: Facts) -> tuple[float, float]:
    """FLOPs of a forward pass, then parameters trained: what using and training a plan costs."""
    return float(facts.flops), float(facts.trained_parameters)


def kind_of(facts: Facts) -> str:
    """Plans of one kind vary alike over seeds: frozen, random, fresh or tuned."""
    if facts.plan.random_weights:
        return "random"
    if facts.is_deterministic:
        return "frozen"
    return "fresh" if facts.is_regrown else "tuned"


def family_of(facts: Facts) -> str:
    """The family of a trained plan, in words: families are to be tried alike."""
    plan = facts.plan
    if plan.random_weights:
        return "random weights"
    if not plan.is_monotone:
        return _region_family(plan)
    if not plan.trained:
        return "frozen"
    if facts.is_regrown:
        return "new blocks above kept ones" if plan.kept else "scratch"
    if plan.freeze > 0:
        return "last kept blocks"
    return "all blocks" if plan.keep == plan.n_blocks else "all kept blocks"


def _region_family(plan: TransferPlan) -> str:
    """The family of a plan that three cut points do not say."""
    if BlockState.ADAPTED in plan.states:
        return "low-rank additions"
    return "blocks left out" if plan.left_out else "one region"
