"""The images of one split, as torch's DataLoader wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset

from tlsweep.target.pixels import PixelStore
from tlsweep.task import Truth
from tlsweep.terms import ImageSpec

if TYPE_CHECKING:
    from tlsweep.target.augment import Augmentation
    from tlsweep.target.base import Target


class TargetDataset(Dataset["tuple[Tensor, Any]"]):
    """A map-style dataset for torch's DataLoader: items are (x_chw, label), normalised float32.

    in_memory: whether the images are decoded already, and ``tensors`` costs no decoding;
    augmentation: what random view of each image an item is, None for the image as it is.
    """

    def __init__(
        self,
        target: Target,
        indices: NDArray[np.int64],
        image: ImageSpec,
        store: PixelStore | None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.indices = indices
        self.image = image
        self.augmentation = augmentation
        self._target = target
        self._store = store

    @property
    def in_memory(self) -> bool:
        """Whether the images are decoded already."""
        return self._store is not None

    @property
    def labels(self) -> Truth:
        """What is true of each item, in their order: [len(self), ...]."""
        return self._target.labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Tensor, Any]:
        if not -len(self) <= position < len(self):
            raise IndexError(position)  # ends a plain for loop over the dataset
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: list[int]) -> list[tuple[Tensor, Any]]:
        """Several items at one go; DataLoader calls it where it is there."""
        x_bchw, labels = self.batch(positions)
        # rows of several labels stay tensors: lists would be collated by column
        return list(zip(x_bchw, labels.tolist() if labels.ndim == 1 else labels, strict=True))

    def batch(self, positions: ArrayLike) -> tuple[Tensor, Tensor]:
        """Items as one batch: x float32 [B, C, H, W], labels [B, ...]."""
        ids = self.indices[np.asarray(positions, dtype=np.int64)]
        if self._store is not None:
            u8_bchw = self._store.read(ids)
        else:
            u8_bchw = self._target.pixels(ids, self.image)
        if self.augmentation is not None:
            u8_bchw = self.augmentation(u8_bchw, ids)
        return normalise(u8_bchw, self.image), torch.from_numpy(self._target.labels[ids])

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Every item at once: x float32 [n, C, H, W], labels [n, ...]. Mind the memory."""
        return self.batch(np.arange(len(self)))


def normalise(u8_bchw: Tensor, image: ImageSpec) -> Tensor:
    """Bring uint8 [B, C, H, W] to float32 in [0, 1], then to ``image``'s mean and std."""
    mean = torch.tensor(image.mean).view(1, -1, 1, 1)
    std = torch.tensor(image.std).view(1, -1, 1, 1)
    return u8_bchw.to(torch.float32).div_(255).sub_(mean).div_(std)
