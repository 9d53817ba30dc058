"""What every target offers.

Loads no torch before images are asked for, so that refusals are fast.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlsweep.target.pixels import PixelStore
from tlsweep.task import Classes, Task, Truth
from tlsweep.terms import ImageSpec, Resampling, Split

if TYPE_CHECKING:
    from torch import Tensor

    from tlsweep.target.augment import Augmentation
    from tlsweep.target.dataset import TargetDataset

Progress = Callable[[int, int, str], None]
"""Called with (done, total, message) during long work, on the thread that asked for it."""


class Target(ABC):
    """Labelled images, and the splits that came with them.

    name: what the report calls it; task: what is asked of each image; output_names: of its classes,
    labels or numbers; labels: what is true of each image, as the task has it (classes int64 [n],
    labels bool [n, m], numbers float64 [n, m]); given: indices of the splits that the data came
    with (train as FIT, val as SELECT, test as REPORT), often none; fingerprint: hex digest of all
    images and labels; contents: a digest of each image, so that equal ones are known, None where no
    two are; ram_gb: gigabytes of decoded images kept in memory at one preprocessing; resampling:
    how its images are resized, so that others of their kind can be prepared alike. Not shared
    between threads.
    """

    resampling: Resampling = "pillow"

    def __init__(
        self,
        name: str,
        output_names: tuple[str, ...],
        labels: Truth,
        fingerprint: str,
        given: Mapping[Split, NDArray[np.int64]] | None = None,
        ram_gb: float = 4.0,
        contents: Sequence[bytes | str] | None = None,
        task: Task | None = None,
    ) -> None:
        self.name = name
        self.task: Task = Classes(len(output_names)) if task is None else task
        self.output_names = output_names
        self.labels = labels
        self.fingerprint = fingerprint
        self.given = dict(given or {})
        self.same_as = _first_with_content(contents, len(labels))
        self.ram_gb = ram_gb
        self._stores: dict[ImageSpec, PixelStore] = {}

    def called(self, index: int) -> str:
        """What people call the image at ``index``."""
        return f"image {index}"

    @property
    def strata(self) -> NDArray[np.int64]:
        """The group of each image that splits share out evenly: int64 [n]."""
        return self.task.strata(self.labels)

    def truth_of(self, index: int) -> str:
        """What is true of the image at ``index``, in words."""
        return self.task.spelled(self.labels[index], self.output_names)

    @abstractmethod
    def pixels(self, indices: NDArray[np.int64], image: ImageSpec) -> Tensor:
        """Images brought to the channels and the size of ``image``: uint8 [k, C, size, size]."""

    def dataset(
        self, indices: ArrayLike, image: ImageSpec, augmentation: Augmentation | None = None
    ) -> TargetDataset:
        """The images at ``indices``, in that order, preprocessed as ``image`` says.

        They are decoded now and kept, once for every dataset of the same ``image``, if they fit
        into ``ram_gb``; else each time they are read. augmentation: the view of each that is asked
        for, None for the image as it is. Raises IndexError for an index that is not there.
        """
        from tlsweep.target.dataset import TargetDataset

        ids = np.asarray(indices, dtype=np.int64)
        if len(ids) and not 0 <= ids.min() <= ids.max() < len(self.labels):
            raise IndexError(f"indices {ids.min()}..{ids.max()} of {len(self.labels)} images")
        store = self._stores.setdefault(image, PixelStore(len(self.labels), image, self.ram_gb))
        kept = store.fill(ids, lambda new: self.pixels(new, image))
        return TargetDataset(self, ids, image, store if kept else None, augmentation)


def _first_with_content(contents: Sequence[bytes | str] | None, n: int) -> NDArray[np.int64]:
    """For each image the index of the first one with the same content: int64 [n]."""
    if contents is None:
        return np.arange(n, dtype=np.int64)
    first: dict[bytes | str, int] = {}
    return np.array([first.setdefault(c, i) for i, c in enumerate(contents)], dtype=np.int64)
