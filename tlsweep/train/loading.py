"""How examples, or what frozen blocks made of them, come in batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tlsweep.target.batch import Batch, Side
from tlsweep.train.sampling import BatchShare, EpochSampler
from tlsweep.train.settings import TrainSettings

PASSED, PASSED_ON_GPU = 64, 128  # examples that go through a network at a time, untrained
Examples = Dataset[Batch]


class Rows(Examples):
    """Stored activations [N, ...] at some places [n], with their labels [n, ...], read in batches.

    places: None for all; a fold is rows of what is stored of the pool, and is not copied. side:
    what rides along, [N, ...] by name.
    """

    def __init__(
        self, z: Tensor, y_n: Tensor, places: Tensor | None = None, side: Side | None = None
    ) -> None:
        self.z, self.y, self.side = z, y_n, dict(side or {})
        self.places = torch.arange(len(z)) if places is None else places

    def release(self) -> None:
        """Let go of the activations: loaders that hold the rows need not keep a store's entry."""
        self.z = self.z[:0].clone()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> Batch:
        place = self.places[i]
        return Batch(self.z[place], self._side(place), self.y[i])

    def __getitems__(self, places: list[int]) -> Batch:
        """The batch itself: items that are stacked again would be copied twice."""
        chosen = torch.tensor(places)
        rows = self.places[chosen]
        return Batch(self.z[rows], self._side(rows), self.y[chosen])

    def _side(self, rows: Tensor) -> Side:
        return {name: tensor[rows] for name, tensor in self.side.items()}


def device_of(train: TrainSettings) -> torch.device:
    """Where this process computes, as Lightning chooses it."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found if found is not None and train.accelerator != "cpu" else torch.device("cpu")


def loader(examples: Examples, sampler: Any, train: TrainSettings) -> DataLoader[Any]:
    """A device's batches in the order of ``sampler``; none that trains has one image alone."""
    size, trains = train.passed, isinstance(sampler, EpochSampler)
    return DataLoader(
        examples,
        batch_size=size,
        sampler=sampler,
        # BatchNorm cannot be trained on one image; the order of another epoch leaves out another
        drop_last=trains and len(sampler) > size and len(sampler) % size == 1,
        num_workers=_workers(examples, train),
        persistent_workers=_workers(examples, train) > 0,
        # its own: else every new iterator draws from the generator that dropout draws from
        generator=torch.Generator(),
        collate_fn=_collate(examples),
    )


def in_batches(
    examples: Examples, train: TrainSettings, rank: int = 0, world: int = 1
) -> DataLoader[Any]:
    """The examples in their order, each once; several devices share the batches."""
    n: int = len(examples)  # type: ignore[arg-type]  # torch's Dataset does not declare it
    # not train.batch_size: stored activations serve all of them, to the last digit
    size = PASSED if device_of(train).type == "cpu" else PASSED_ON_GPU
    return DataLoader(
        examples,
        batch_sampler=BatchShare(n, size, rank=rank, world=world),
        num_workers=_workers(examples, train),
        collate_fn=_collate(examples),
    )


def _workers(examples: Examples, train: TrainSettings) -> int:
    # rows are read from memory: handing them from process to process would take longer
    return 0 if isinstance(examples, Rows) else train.num_workers


def _collate(examples: Examples) -> Any:
    return _as_it_is if isinstance(examples, Rows) else None


def _as_it_is(batch: Any) -> Any:
    return batch
