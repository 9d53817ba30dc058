"""One pass over examples through taps, by Lightning's predict loop; devices may share it."""

from __future__ import annotations

from collections.abc import Callable

import pytorch_lightning as pl
from torch import Tensor

from tlsweep.extract.taps import Taps
from tlsweep.target.batch import Batch
from tlsweep.train.loading import Examples, in_batches
from tlsweep.train.settings import TrainSettings
from tlsweep.train.trainer import alone, tamed, trainer

Write = Callable[[int, list[Tensor]], None]
"""(number of a batch, what its taps gave: float32, on the CPU)."""


class _Pass(pl.LightningModule):
    def __init__(self, taps: Taps, write: Write, rank: int, world: int) -> None:
        super().__init__()
        self.taps, self.write = taps, write
        self.rank, self.world = rank, world
        # a few examples make fewer batches than there are devices
        self.allow_zero_length_dataloader_with_multiple_devices = True

    def predict_step(self, batch: Batch, batch_idx: int) -> None:
        """Hand on what a batch gives; nothing is kept, so memory does not grow with the data."""
        taken = self.taps(batch.z, batch.side)
        self.write(self.rank + self.world * batch_idx, [z.float().cpu() for z in taken])


def one_pass(
    taps: Taps,
    examples: Examples,
    train: TrainSettings,
    write: Write,
    *,
    rank: int = 0,
    world: int = 1,
) -> None:
    """Bring every ``world``-th batch, from ``rank``, through ``taps``; ``write`` takes the results.

    A batch holds the same examples whatever the number of devices, so they find the same numbers.
    """
    # inference tensors could not be trained on
    options = {"inference_mode": False}
    with tamed():
        runner = trainer(train, world, "ddp", **options) if world > 1 else alone(train, **options)
        loader = in_batches(examples, train, rank, world)
        runner.predict(_Pass(taps, write, rank, world), loader, return_predictions=False)
