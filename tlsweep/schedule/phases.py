"""The schedule "phases": the blocks that a user wrote for each phase, by their names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from tlsweep.errors import Fault, Refusal
from tlsweep.plan import TransferPlan, as_written
from tlsweep.schedule.base import Ending, FreezeSchedule, growing, new_layers
from tlsweep.schedule.settings import PhasedSettings
from tlsweep.section import Region, as_region

if TYPE_CHECKING:
    from tlsweep.cut import CutPoints

KEY = "schedule.phases"


def _phases(value: Any) -> Any:
    if value == "???":  # it is not set, which is told as that
        return value
    if not isinstance(value, list | tuple) or not value or None in value:
        rule = "the value is a list of phases, each a region of blocks, none or all"
        raise PydanticCustomError("phases", rule)
    return tuple("none" if part == [] else as_region(part) for part in value)


class Settings(PhasedSettings):
    """conf/schedule/phases.yaml. phases: the regions that are thawed, from first to last."""

    name: Literal["phases"]
    phases: Annotated[tuple[Region, ...], BeforeValidator(_phases)]


def open(  # noqa: A001  (always called as phases.open)
    settings: Settings, plan: TransferPlan, cuts: CutPoints, empty: Collection[int]
) -> FreezeSchedule:
    """The schedule of a plan. empty: blocks with nothing to train, for which no phase is spent."""
    written = read_phases(plan, cuts, settings.phases)
    rest = plan.trained.difference(new_layers(plan), *written[-1:])
    names = as_written(rest, cuts.names[1:])
    said = f"; a last phase was added, which thaws {names}" if written and rest else ""
    schedule = listed(plan, written, settings.ending, empty)
    return replace(schedule, said=said)


def listed(
    plan: TransferPlan,
    phases: Sequence[Iterable[int]],
    ending: Ending,
    empty: Collection[int] = (),
) -> FreezeSchedule:
    """In each phase the blocks of a list, beside the new layers; at last all that the plan trains.

    Raises ValueError for blocks that the plan does not train, and where a phase freezes again.
    """
    named = [new_layers(plan) | frozenset(blocks) for blocks in phases]
    if not all(blocks <= plan.trained for blocks in named):
        raise ValueError(f"the plan trains {sorted(plan.trained)}, and phases name others")
    return growing([*named, plan.trained], ending, empty)


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
    from tlsweep.cut import region  # torch takes over a second to import

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
