"""Settings that the schedules with phases share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tlsweep.schedule.base import Ending, Trigger
from tlsweep.section import Number, Positive, ScheduleSettings, Section, Share


class EndingSettings(Section):
    """What ends a phase."""

    until: Trigger
    epochs: Positive
    patience: Positive
    min_delta: Annotated[Number, Field(ge=0)]
    grad_share: Share

    @property
    def ending(self) -> Ending:
        """The same, as schedules have it."""
        return Ending(self.until, self.epochs, self.patience, self.min_delta, self.grad_share)


class PhasedSettings(ScheduleSettings, EndingSettings):
    """Of a schedule with phases. rates: one course of the learning rates, or one a phase."""

    rates: Literal["whole", "phase"]

    @property
    def anew(self) -> bool:
        """Whether learning rates begin anew with each phase."""
        return self.rates == "phase"
