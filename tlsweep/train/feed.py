"""The data of each epoch: examples, or what frozen blocks made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from tlsweep.train.loading import Examples, loader
from tlsweep.train.module import PlanModule
from tlsweep.train.sampling import EpochSampler, ShareSampler


@dataclass(frozen=True)
class Fed:
    """What an epoch trains on and is scored on.

    entry: the cut point that inputs come from, 0 for examples as they are; select: None where
    nothing is held out.
    """

    fit: Examples
    select: Examples | None
    entry: int = 0


Feed = Callable[[int, int], Fed]
"""(first block that is trained, epoch) to the data; the same number of items in every epoch."""


class FeedModule(pl.LightningDataModule):
    """Asks the feed anew before each epoch, and tells the network where its input comes from.

    Lightning asks for both loaders in every epoch (``reload_dataloaders_every_n_epochs=1``); where
    the feed gives the same data again, they are the same loaders.
    """

    def __init__(self, feed: Feed, module: PlanModule, rank: int) -> None:
        super().__init__()
        self.feed, self.module, self.network = feed, module, module.network
        self.settings, self.seed, self.rank = module.settings, module.seed, rank
        self._fed: Fed | None = None
        self._loaders: dict[str, DataLoader[Any]] = {}

    def open(self) -> Fed:
        """The data of the coming epoch, where the first block that is trained now stands."""
        fed = self.feed(self.network.boundary, self.epoch)
        self.network.entry = fed.entry
        if self._fed is None or self._fed.fit is not fed.fit:
            self._loaders.pop("fit", None)
        if self._fed is None or self._fed.select is not fed.select:
            self._loaders.pop("select", None)
        self._fed = fed
        return fed

    def train_dataloader(self) -> DataLoader[Any]:
        """This device's share of the fit split, in the epoch's order."""
        examples = self.open().fit
        if "fit" not in self._loaders:
            sampler = EpochSampler(
                _size(examples), seed=self.seed, rank=self.rank, world=self._world
            )
            self._loaders["fit"] = loader(examples, sampler, self.settings)
        found = self._loaders["fit"]
        assert isinstance(found.sampler, EpochSampler)
        # Lightning says it too, but where a run goes on, only once workers have begun to read
        found.sampler.set_epoch(self.epoch)
        return found

    @property
    def holds_out(self) -> bool:
        """Whether the present epoch has a select split."""
        return self._fed is not None and self._fed.select is not None

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """This device's share of the select split; nothing where there is none."""
        examples = self.open().select
        if examples is None:
            return []
        if "select" not in self._loaders:
            sampler = ShareSampler(_size(examples), rank=self.rank, world=self._world)
            self._loaders["select"] = loader(examples, sampler, self.settings)
        return self._loaders["select"]

    @property
    def epoch(self) -> int:
        """The coming epoch, 0 the first. Lightning's own count lags while a run is taken up."""
        return len(self.module.history)

    @property
    def _world(self) -> int:
        return self.settings.devices


def _size(examples: Examples) -> int:
    return len(examples)  # type: ignore[arg-type]  # torch's Dataset does not declare it
