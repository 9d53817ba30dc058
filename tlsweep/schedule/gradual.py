"""The schedule "gradual": one more block a phase (ULMFiT, Howard and Ruder 2018)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from tlsweep.plan import TransferPlan
from tlsweep.schedule.base import Ending, FreezeSchedule, growing, new_layers
from tlsweep.schedule.settings import PhasedSettings

if TYPE_CHECKING:
    from tlsweep.cut import CutPoints

End = Literal["top", "bottom"]


class Settings(PhasedSettings):
    """conf/schedule/gradual.yaml. begin: where the first block thaws."""

    name: Literal["gradual"]
    begin: End


def open(  # noqa: A001  (always called as gradual.open)
    settings: Settings, plan: TransferPlan, cuts: CutPoints, empty: Collection[int]
) -> FreezeSchedule:
    """The schedule of a plan. empty: blocks with nothing to train, for which no phase is spent."""
    return gradual(plan, settings.ending, settings.begin, empty)


def gradual(
    plan: TransferPlan, ending: Ending, begin: End = "top", empty: Collection[int] = ()
) -> FreezeSchedule:
    """One more block a phase: from the top down, or upwards."""
    phases = [new_layers(plan)]
    for block in sorted(plan.trained - phases[0], reverse=begin == "top"):
        phases.append(phases[-1] | {block})
    return growing(phases, ending, empty)
