"""A plan, how it answered held-out examples, and how it scored on the report split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlsweep.verdict.evidence import Evidence, Table


@dataclass(frozen=True, eq=False)
class Tried:
    """A plan with what is known of it.

    facts: as a trial notes them (plan, freeze, keep, regrow, names, cost); overrides: what to write
    for just this plan; controls: the control names that it answers to; evidence: example scores out
    of fold; report_rn: example scores [seeds, report images] of the final trainings, None where
    there were none; settled: whether its trainings ended because their loss had settled.
    """

    facts: Mapping[str, Any]
    overrides: tuple[str, ...]
    controls: tuple[str, ...]
    evidence: Evidence
    report_rn: Table | None = None
    settled: bool = True


def cost_of(facts: Mapping[str, Any]) -> tuple[float, float]:
    """FLOPs of a forward pass, then parameters trained: what using and training a plan costs."""
    return float(facts["flops"]), float(facts["trained_parameters"])


def kind_of(facts: Mapping[str, Any]) -> str:
    """Plans of one kind vary alike over seeds: frozen, random, fresh or tuned."""
    if facts["random_weights"]:
        return "random"
    if facts["deterministic"]:
        return "frozen"
    return "fresh" if facts["regrow"] > facts["keep"] else "tuned"


def family_of(facts: Mapping[str, Any]) -> str:
    """The family of a trained plan, in words: families are to be tried alike."""
    freeze, keep, regrow, n = (facts[name] for name in ("freeze", "keep", "regrow", "n_blocks"))
    if facts["random_weights"]:
        return "random weights"
    if facts["regions"]:
        return _region_family(facts)
    if freeze == regrow:
        return "frozen"
    if keep < regrow:
        return "scratch" if keep == 0 else "new blocks above kept ones"
    if freeze > 0:
        return "last kept blocks"
    return "all blocks" if keep == n else "all kept blocks"


def _region_family(facts: Mapping[str, Any]) -> str:
    """The family of a plan that three cut points do not say."""
    if "adapted" in facts["regions"]:
        return "low-rank additions"
    return "blocks left out" if "dropped" in facts["regions"] else "one region"
