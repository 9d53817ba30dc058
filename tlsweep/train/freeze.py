"""The one freeze-schedule callback: thaws blocks as a FreezeSchedule says."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from tlsweep.train.module import PlanModule
from tlsweep.train.schedule import FreezeSchedule, PhaseClock


class FreezeCallback(pl.Callback):
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

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Freeze before the optimiser is built."""
        assert isinstance(pl_module, PlanModule)
        self._freeze(pl_module)

    def _freeze(self, module: PlanModule) -> None:
        module.network.thaw(self.thawed)
        # DDP wraps only what asks for gradients now, so blocks that a later phase thaws must ask
        # until it has done so (``on_fit_start`` comes after the wrapping)
        module.network.ask(self.schedule.thawed[-1])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze for good what DDP had to see unfrozen."""
        assert isinstance(pl_module, PlanModule)
        pl_module.network.thaw(self.thawed)

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
        assert isinstance(pl_module, PlanModule)
        saved = checkpoint["callbacks"].get(self.state_key)
        if saved is not None:
            self.clock.load_state_dict(saved)
        self._freeze(pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure gradient norms anew."""
        self._norm_sum, self._steps = 0.0, 0

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Measure the gradient norm of the new layers, where it may end a phase."""
        if self.schedule.ending.until != "grad_norm":
            return
        assert isinstance(pl_module, PlanModule)
        new = [*pl_module.network.head.parameters()]
        for i, block in enumerate(pl_module.network.blocks):
            if i not in pl_module.kept:
                new.extend(block.parameters())
        norms = [p.grad.norm() for p in new if p.grad is not None]
        norm = float(torch.stack(norms).norm()) if norms else 0.0
        if self._steps == 0:
            self._first = norm
        self._norm_sum += norm
        self._steps += 1

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the clock tick, and thaw if a new phase begins.

        Now, not at the next epoch's start: a checkpoint that is written between the two would
        hold a clock and an optimiser of different phases.
        """
        assert isinstance(pl_module, PlanModule)
        if pl_module.over:
            return  # no epoch follows that a new phase could be for
        mean = self._norm_sum / max(1, self._steps)
        metrics = pl_module.history[-1]
        loss = metrics.get("select_loss", metrics["fit_loss"])
        if self.clock.tick(self.schedule, loss, mean, self._first):
            pl_module.thaw(self.thawed)
