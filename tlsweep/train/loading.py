"""How images, or what frozen blocks made of them, come in batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tlsweep.train.sampling import BatchShare, EpochSampler
from tlsweep.train.settings import TrainSettings

PASSED, PASSED_ON_GPU = 64, 128  # images that go through a network at a time, untrained
Images = Dataset[tuple[Tensor, Any]]


class Rows(Images):
    """Stored activations [N, ...] at some places [n], with their labels [n, ...], read in batches.

    places: None for all; a fold is rows of what is stored of the pool, and is not copied.
    """

    def __init__(self, z: Tensor, y_n: Tensor, places: Tensor | None = None) -> None:
        self.z, self.y = z, y_n
        self.places = torch.arange(len(z)) if places is None else places

    def release(self) -> None:
        """Let go of the activations: loaders that hold the rows need not keep a store's entry."""
        self.z = self.z[:0].clone()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, Any]:
        return self.z[self.places[i]], self.y[i]

    def __getitems__(self, places: list[int]) -> tuple[Tensor, Tensor]:
        """The batch itself: items that are stacked again would be copied twice."""
        chosen = torch.tensor(places)
        return self.z[self.places[chosen]], self.y[chosen]


def device_of(train: TrainSettings) -> torch.device:
    """Where this process computes, as Lightning chooses it."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found if found is not None and train.accelerator != "cpu" else torch.device("cpu")


def loader(images: Images, sampler: Any, train: TrainSettings) -> DataLoader[Any]:
    """A device's batches in the order of ``sampler``; none that trains has one image alone."""
    size, trains = train.batch_size // train.devices, isinstance(sampler, EpochSampler)
    return DataLoader(
        images,
        batch_size=size,
        sampler=sampler,
        # BatchNorm cannot be trained on one image; the order of another epoch leaves out another
        drop_last=trains and len(sampler) > size and len(sampler) % size == 1,
        num_workers=_workers(images, train),
        persistent_workers=_workers(images, train) > 0,
        # its own: else every new iterator draws from the generator that dropout draws from
        generator=torch.Generator(),
        collate_fn=_collate(images),
    )


def in_batches(
    images: Images, train: TrainSettings, rank: int = 0, world: int = 1
) -> DataLoader[Any]:
    """The images in their order, each once; of several devices each has a share of the batches."""
    n: int = len(images)  # type: ignore[arg-type]  # torch's Dataset does not declare it
    # not train.batch_size: stored activations serve all of them, to the last digit
    size = PASSED if device_of(train).type == "cpu" else PASSED_ON_GPU
    return DataLoader(
        images,
        batch_sampler=BatchShare(n, size, rank=rank, world=world),
        num_workers=_workers(images, train),
        collate_fn=_collate(images),
    )


def _workers(images: Images, train: TrainSettings) -> int:
    # rows are read from memory: handing them from process to process would take longer
    return 0 if isinstance(images, Rows) else train.num_workers


def _collate(images: Images) -> Any:
    return _as_it_is if isinstance(images, Rows) else None


def _as_it_is(batch: Any) -> Any:
    return batch
