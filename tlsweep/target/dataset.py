"""The examples of one split, as torch's DataLoader wants them."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset

from tlsweep.target.batch import Batch, Side
from tlsweep.target.decoded import DecodedFiles
from tlsweep.target.pixels import PixelStore
from tlsweep.task import Truth
from tlsweep.terms import ImageSpec

if TYPE_CHECKING:
    from tlsweep.target.augment import Augmentation
    from tlsweep.target.base import Target
    from tlsweep.target.images import ImageTarget


class TargetDataset(Dataset[Batch]):
    """A map-style dataset for torch's DataLoader, which also gives whole batches.

    indices: of its items in the target; an item is a Batch without the batch dimension.
    """

    def __init__(self, target: Target, indices: NDArray[np.int64]) -> None:
        self.indices = indices
        self._target = target

    @property
    def labels(self) -> Truth:
        """What is true of each item, in their order: [len(self), ...]."""
        return self._target.labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Batch:
        if not -len(self) <= position < len(self):
            raise IndexError(position)  # ends a plain for loop over the dataset
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: list[int]) -> list[Batch]:
        """Several items at one go; DataLoader calls it where it is there."""
        z, side, y = self.batch(positions)
        # rows of several labels stay tensors: lists would be collated by column
        truths: Any = y.tolist() if y.ndim == 1 else y
        sides = [{name: tensor[i] for name, tensor in side.items()} for i in range(len(z))]
        return [Batch(*item) for item in zip(z, sides, truths, strict=True)]

    def batch(self, positions: ArrayLike) -> Batch:
        """Items as one batch."""
        ids = self.indices[np.asarray(positions, dtype=np.int64)]
        return Batch(self.inputs(ids), self.side(ids), torch.from_numpy(self._target.labels[ids]))

    @abstractmethod
    def inputs(self, ids: NDArray[np.int64]) -> Tensor:
        """What a network is given of the target's examples ``ids``: [k, ...]."""

    def side(self, ids: NDArray[np.int64]) -> Side:
        """What rides along with these examples, [k, ...] by name: nothing, of images."""
        return {}

    def tensors(self) -> Batch:
        """Every item at once. Mind the memory."""
        return self.batch(np.arange(len(self)))


class ImageDataset(TargetDataset):
    """Images, normalised: float32 [C, H, W] an item.

    in_memory: whether the images are decoded already, and ``tensors`` costs no decoding;
    augmentation: what random view of each image an item is, None for the image as it is.
    """

    def __init__(
        self,
        target: ImageTarget,
        indices: NDArray[np.int64],
        image: ImageSpec,
        store: PixelStore | DecodedFiles | None,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(target, indices)
        self.image, self.augmentation = image, augmentation
        self._images, self._store = target, store

    @property
    def in_memory(self) -> bool:
        """Whether the images are decoded already."""
        return isinstance(self._store, PixelStore)

    def inputs(self, ids: NDArray[np.int64]) -> Tensor:
        """Images float32 [k, C, H, W]."""
        u8_bchw = None if self._store is None else self._store.read(ids)
        if u8_bchw is None:
            u8_bchw = self._images.pixels(ids, self.image)
        if self.augmentation is not None:
            u8_bchw = self.augmentation(u8_bchw, ids)
        return normalise(u8_bchw, self.image)


class TextDataset(TargetDataset):
    """Texts as tokens: int64 [T] an item, and the mask of those that are no filling."""

    def __init__(
        self, target: Target, indices: NDArray[np.int64], z_nt: Tensor, mask_nt: Tensor
    ) -> None:
        super().__init__(target, indices)
        self._z, self._mask = z_nt, mask_nt

    def inputs(self, ids: NDArray[np.int64]) -> Tensor:
        """Tokens int64 [k, T]."""
        return self._z[ids]

    def side(self, ids: NDArray[np.int64]) -> Side:
        """``mask``, bool [k, T]."""
        return {"mask": self._mask[ids]}


def normalise(u8_bchw: Tensor, image: ImageSpec) -> Tensor:
    """Bring uint8 [B, C, H, W] to float32 in [0, 1], then to ``image``'s mean and std."""
    mean = torch.tensor(image.mean).view(1, -1, 1, 1)
    std = torch.tensor(image.std).view(1, -1, 1, 1)
    return u8_bchw.to(torch.float32).div_(255).sub_(mean).div_(std)
