"""The callback that thaws blocks as a FreezeSchedule says; ``Phases`` for any module."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch

from tlsweep.errors import Fault, Refusal
from tlsweep.schedule.base import FreezeSchedule, PhaseClock
from tlsweep.train.module import PlanModule
from tlsweep.train.trainer import wrap_again


class Phases(pl.Callback, abc.ABC):
    """Thaws blocks between epochs; its clock is part of every checkpoint.

    A resumed run learns its phase before the optimiser is built (Lightning restores callbacks
    first), so the optimiser's groups hold just what they held when the checkpoint was written.
    """

    def __init__(self, schedule: FreezeSchedule) -> None:
        self.schedule = schedule
        self.clock = PhaseClock()
        self._norm_sum, self._steps, self._first = 0.0, 0, 0.0

    @property
    def thawed(self) -> frozenset[int]:
        """The blocks that are trained in the present phase."""
        return self.schedule.thawed[self.clock.phase]

    # ------------------------------------------------------------------ of the module
    @abc.abstractmethod
    def freeze(self, pl_module: pl.LightningModule) -> None:
        """Freeze all blocks but those of the present phase, before the optimiser is built."""

    @abc.abstractmethod
    def thaw(self, pl_module: pl.LightningModule) -> None:
        """Train the blocks of the phase that begins."""

    @abc.abstractmethod
    def new_layers(self, pl_module: pl.LightningModule) -> Iterable[torch.nn.Parameter]:
        """What is trained in every phase, and whose gradients may end one."""

    @abc.abstractmethod
    def loss(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> float:
        """The loss of this epoch that a plateau is looked for in."""

    @abc.abstractmethod
    def is_over(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> bool:
        """Whether no epoch follows that a new phase could be for."""

    # ------------------------------------------------------------------ hooks
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Freeze before the optimiser is built, and before DDP looks for what asks."""
        if stage == "fit":
            self.freeze(pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the phase of the checkpoint."""
        self.clock.load_state_dict(state_dict)

    def state_dict(self) -> dict[str, Any]:
        """The clock, as plain numbers."""
        return self.clock.state_dict()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Freeze as the checkpoint's phase does, before the optimiser is built."""
        saved = checkpoint["callbacks"].get(self.state_key)
        if saved is not None:
            self.clock.load_state_dict(saved)
        self.freeze(pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure gradient norms anew."""
        self._norm_sum, self._steps = 0.0, 0

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measure the gradient norm of the new layers, where it may end a phase."""
        if self.schedule.ending.until != "grad_norm":
            return
        norms = [p.grad.norm() for p in self.new_layers(pl_module) if p.grad is not None]
        norm = float(torch.stack(norms).norm()) if norms else 0.0
        if self._steps == 0:
            self._first = norm
        self._norm_sum += norm
        self._steps += 1

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the clock tick, and thaw if a new phase begins.

        Now, not at the next epoch's start: a checkpoint that is written between the two would
        hold a clock and an optimiser of different phases. In the last epoch the clock ticks, too,
        for a run that is taken up with more epochs, but nothing is thawed that no epoch trains.
        """
        mean = self._norm_sum / max(1, self._steps)
        loss = self.loss(trainer, pl_module)
        begins = self.clock.tick(self.schedule, loss, mean, self._first)
        if begins and not self.is_over(trainer, pl_module):
            self.thaw(pl_module)
            wrap_again(trainer)


class FreezeCallback(Phases):
    """Thaws the blocks of a PlanModule."""

    def freeze(self, pl_module: pl.LightningModule) -> None:
        """Freeze all blocks but those of the present phase."""
        _plan(pl_module).network.thaw(self.thawed)

    def thaw(self, pl_module: pl.LightningModule) -> None:
        """Train the blocks of the phase that begins."""
        _plan(pl_module).thaw(self.thawed)

    def new_layers(self, pl_module: pl.LightningModule) -> Iterable[torch.nn.Parameter]:
        """The head and the fresh blocks."""
        module = _plan(pl_module)
        yield from module.network.head.parameters()
        for i, block in enumerate(module.network.blocks):
            if i not in module.kept:
                yield from block.parameters()

    def loss(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> float:
        """On the select split, where it was scored."""
        metrics = _plan(pl_module).history[-1]
        return metrics.get("select_loss", metrics["fit_loss"])

    def is_over(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> bool:
        """Whether no epoch is left."""
        return _plan(pl_module).over


def _plan(module: pl.LightningModule) -> PlanModule:
    if isinstance(module, PlanModule):
        return module
    raise Refusal(
        Fault(
            f"FreezeCallback in a {type(module).__name__}",
            "it thaws the blocks of tlsweep's own PlanModule",
            "tlsweep.Thaw(blocks=[...]), which thaws blocks of any LightningModule",
        )
    )
