"""The schedule "two_phase": first the new layers, then the plan (LP-FT, Kumar et al. 2022)."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from tlsweep.plan import TransferPlan
from tlsweep.schedule.base import Ending, FreezeSchedule, growing, new_layers
from tlsweep.schedule.settings import PhasedSettings

if TYPE_CHECKING:
    from tlsweep.cut import CutPoints


class Settings(PhasedSettings):
    """conf/schedule/two_phase.yaml."""

    name: Literal["two_phase"]


def open(  # noqa: A001  (always called as two_phase.open)
    settings: Settings, plan: TransferPlan, cuts: CutPoints, empty: Collection[int]
) -> FreezeSchedule:
    """The schedule of a plan. empty: blocks with nothing to train, for which no phase is spent."""
    return two_phase(plan, settings.ending, empty)


def two_phase(plan: TransferPlan, ending: Ending, empty: Collection[int] = ()) -> FreezeSchedule:
    """First only the new layers, then all that the plan trains.

    empty: blocks without parameters, for which no phase is spent.
    """
    return growing([new_layers(plan), plan.trained], ending, empty)
