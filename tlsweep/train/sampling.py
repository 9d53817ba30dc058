"""The order of images as a pure function of (seed, epoch), the same for any number of devices."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class EpochSampler(Sampler[int]):
    """Indices 0..n-1 shuffled by (seed, epoch); rank r of R sees every R-th of them.

    With a per-device batch of B / R, the devices together see in each step the very batch of B
    that one device would see. No image is repeated; where R does not divide n, the last n mod R
    images of the epoch's order are left out, so that no device waits for another.
    """

    def __init__(self, n: int, *, seed: int, rank: int = 0, world: int = 1) -> None:
        self.n, self.seed, self.rank, self.world = n, seed, rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n // self.world

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(self.n, generator=generator)
        usable = len(self) * self.world
        return iter(order[self.rank : usable : self.world].tolist())


class ShareSampler(Sampler[int]):
    """Every ``world``-th of 0..n-1 in order, from ``rank``: a device's share, none repeated."""

    def __init__(self, n: int, *, rank: int = 0, world: int = 1) -> None:
        self.indices = range(rank, n, world)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


class BatchShare(Sampler[list[int]]):
    """0..n-1 in order in batches of ``size``; of the batches every ``world``-th, from ``rank``."""

    def __init__(self, n: int, size: int, *, rank: int = 0, world: int = 1) -> None:
        self.n, self.size = n, size
        self.starts = range(rank * size, n, world * size)

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(i, min(i + self.size, self.n))) for i in self.starts)
