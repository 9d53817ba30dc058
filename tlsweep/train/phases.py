"""The phases of ``schedule=phases``, from the names of blocks that a user wrote."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

from tlsweep.cut import CutPoints, region
from tlsweep.errors import Fault, Refusal
from tlsweep.plan import TransferPlan, as_written
from tlsweep.section import Region

KEY = "schedule.phases"


def read_phases(
    plan: TransferPlan, cuts: CutPoints, written: Sequence[Region]
) -> list[frozenset[int]]:
    """The blocks that each phase thaws, as written: ``[none, layer4, [layer3..layer4], all]``.

    ``all`` are all that the plan trains, ``none`` are the new layers alone. There are no phases
    where the plan trains no kept block: there is nothing to thaw.
    Raises Refusal for unknown blocks, for blocks that the plan does not train, and for a phase that
    does not thaw more than the one before it.
    """
    if plan.trained.isdisjoint(plan.kept):
        return []
    found = [_blocks(plan, cuts, one) for one in written]
    if not all(blocks <= plan.trained for blocks in found):
        raise Refusal(_not_trained(plan, cuts, found))
    new = plan.trained - set(plan.kept)
    if not all(a | new < b | new for a, b in pairwise(found)):
        grown = _spelled(plan, cuts, _grown(found))
        rule = "each phase names all blocks of the one before it, and one more at least"
        raise Refusal(Fault(f"{KEY}={_spelled(plan, cuts, found)}", rule, f"{KEY}={grown}"))
    return found


def _blocks(plan: TransferPlan, cuts: CutPoints, written: Region) -> frozenset[int]:
    parts = [written] if isinstance(written, str | int) else [*written]
    if "all" in parts:
        return plan.trained
    return frozenset(region(cuts, [part for part in parts if part != "none"], KEY))


def _not_trained(plan: TransferPlan, cuts: CutPoints, found: Sequence[frozenset[int]]) -> Fault:
    """The fault of phases that name blocks which stay frozen or are dropped, with their nearest."""
    wrong = frozenset[int]().union(*found) - plan.trained
    mended = _grown([frozenset(_nearest(plan, i) for i in blocks) for blocks in found])
    names = cuts.names[1:]
    return Fault(
        f"{KEY}={_spelled(plan, cuts, found)}: {as_written(wrong, names)} is not trained",
        f"a phase thaws blocks that the plan trains: {as_written(plan.trained, names)}",
        f"{KEY}={_spelled(plan, cuts, mended)}",
    )


def _nearest(plan: TransferPlan, block: int) -> int:
    return min(plan.trained, key=lambda own: (abs(own - block), own))


def _grown(found: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """The phases with all blocks of those before them, none twice."""
    grown = [found[0]]
    for blocks in found[1:]:
        grown.append(grown[-1] | blocks)
    return [*dict.fromkeys(grown)]


def _spelled(plan: TransferPlan, cuts: CutPoints, phases: Sequence[Collection[int]]) -> str:
    """Phases as a command line writes them."""
    names = cuts.names[1:]
    texts = [
        "all" if set(blocks) == plan.trained else as_written(blocks, names) for blocks in phases
    ]
    return f"[{','.join(texts)}]"
