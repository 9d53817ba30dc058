"""Freeze schedules as plain data: which blocks are frozen in which phase, and what ends a phase.

Pure: loads neither torch nor Lightning.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tlsweep.plan import TransferPlan

Trigger = Literal["epochs", "plateau", "grad_norm"]


@dataclass(frozen=True)
class Ending:
    """What ends a phase.

    until: ``epochs`` (after ``epochs``), ``plateau`` (after ``patience`` epochs without a loss on
    the select split that is lower than the best by more than ``min_delta``) or ``grad_norm`` (once
    the new layers' mean gradient norm over an epoch is under ``grad_share`` of its first value).
    ``epochs`` is the longest that any phase may take.
    """

    until: Trigger = "epochs"
    epochs: int = 3
    patience: int = 2
    min_delta: float = 0.0
    grad_share: float = 0.3


@dataclass(frozen=True)
class FreezeSchedule:
    """The blocks that are trained in each phase, from the first to the last, which has no end.

    anew: whether learning rates begin anew with each phase; said: what a user should know of it.
    """

    thawed: tuple[frozenset[int], ...]
    ending: Ending = field(default_factory=Ending)
    anew: bool = False
    said: str = ""

    def __post_init__(self) -> None:
        growing = all(a < b for a, b in zip(self.thawed, self.thawed[1:], strict=False))
        if not self.thawed or not growing:
            raise ValueError(f"each phase thaws more blocks than the one before: {self.thawed}")


def growing(
    phases: Sequence[frozenset[int]], ending: Ending, empty: Collection[int]
) -> FreezeSchedule:
    """The schedule without phases that thaw nothing but empty blocks: these thaw with the next."""
    found = [phases[0]]
    for phase in phases[1:]:
        if not phase <= found[-1] | set(empty):
            found.append(phase)
    found[-1] |= phases[-1]
    return FreezeSchedule(tuple(found), ending)


def new_layers(plan: TransferPlan) -> frozenset[int]:
    """The blocks that nothing is kept of."""
    return plan.trained - frozenset(plan.kept)


@dataclass
class PhaseClock:
    """Where a training run stands in its schedule; a dictionary of plain numbers when saved."""

    phase: int = 0
    epochs_in_phase: int = 0
    best_loss: float = math.inf
    epochs_without_better: int = 0
    first_grad_norm: float | None = None

    def tick(self, schedule: FreezeSchedule, loss: float, grad_norm: float, first: float) -> bool:
        """One epoch has ended. True if a new phase begins.

        loss: validation loss of the epoch; grad_norm: mean over its steps of the new layers'
        gradient norm; first: that norm at the epoch's first step.
        """
        self.epochs_in_phase += 1
        if loss < self.best_loss - schedule.ending.min_delta:  # as Lightning's EarlyStopping
            self.best_loss, self.epochs_without_better = loss, 0
        else:
            self.epochs_without_better += 1
        if self.first_grad_norm is None:
            self.first_grad_norm = first
        if self.phase + 1 >= len(schedule.thawed) or not self._settled(schedule.ending, grad_norm):
            return False
        self.phase += 1
        self.epochs_in_phase = self.epochs_without_better = 0
        self.best_loss, self.first_grad_norm = math.inf, None
        return True

    def _settled(self, ending: Ending, grad_norm: float) -> bool:
        if self.epochs_in_phase >= ending.epochs:
            return True
        if ending.until == "plateau":
            return self.epochs_without_better >= ending.patience
        if ending.until == "grad_norm":
            return grad_norm < ending.grad_share * (self.first_grad_norm or 0.0)
        return False

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, for a checkpoint."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for name, value in state.items():
            setattr(self, name, value)
