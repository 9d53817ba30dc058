"""Stages that trials share: the state after a schedule's first phase, trained once."""

from __future__ import annotations

import tempfile
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytorch_lightning as pl

from tlsweep.schedule.base import PhaseClock


class Shelf(Protocol):
    """Where the state after one first phase is kept, as a Lightning checkpoint."""

    def found(self) -> AbstractContextManager[Path | None]:
        """The file, for as long as it is read; None where there is none."""

    def keep(self, file: Path) -> None:
        """Keep a copy of the file."""


class KeepStage(pl.Callback):
    """Keeps the state of a run on one device as its first phase ends.

    Comes after the callback that thaws.
    """

    def __init__(self, clock: PhaseClock, shelf: Shelf) -> None:
        self.clock, self.shelf = clock, shelf

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the state where this epoch was the phase's last."""
        ended = (self.clock.phase, self.clock.epochs_in_phase) == (1, 0)
        if not ended or trainer.current_epoch + 1 == trainer.max_epochs:
            return  # in the last epoch nothing was thawed, and none is left to go on with
        try:
            with tempfile.TemporaryDirectory(prefix="tlsweep-stage-") as folder:
                file = Path(folder) / "stage.ckpt"
                trainer.save_checkpoint(file, weights_only=False)
                self.shelf.keep(file)
        except OSError as error:  # a full disk costs other trials some time, and this one nothing
            warnings.warn(f"a first phase is not kept: {error}", RuntimeWarning, stacklevel=2)
