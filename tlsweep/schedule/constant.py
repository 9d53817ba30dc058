"""The schedule "constant": all that the plan trains, from the first step to the last."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from tlsweep.plan import TransferPlan
from tlsweep.schedule.base import FreezeSchedule
from tlsweep.section import ScheduleSettings

if TYPE_CHECKING:
    from tlsweep.cut import CutPoints


class Settings(ScheduleSettings):
    """conf/schedule/constant.yaml."""

    name: Literal["constant"]


def open(  # noqa: A001  (always called as constant.open)
    settings: Settings, plan: TransferPlan, cuts: CutPoints, empty: Collection[int]
) -> FreezeSchedule:
    """The schedule of a plan. empty: blocks with nothing to train, for which no phase is spent."""
    return constant(plan)


def constant(plan: TransferPlan) -> FreezeSchedule:
    """All that the plan trains, throughout."""
    return FreezeSchedule((plan.trained,))
