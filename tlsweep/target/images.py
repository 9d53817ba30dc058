"""Targets of images: decoded when they are asked for, and kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlsweep.target.base import Progress, Target
from tlsweep.target.decoded import DecodedFiles
from tlsweep.target.near import firsts
from tlsweep.target.pixels import PixelStore
from tlsweep.target.several import SHOWN, some
from tlsweep.task import Task, Truth
from tlsweep.terms import ImageSpec, Levels, Resampling, Split

if TYPE_CHECKING:
    from torch import Tensor

    from tlsweep.target.augment import Augmentation
    from tlsweep.target.dataset import ImageDataset

_NAMED = 10  # near copies in two parts of the data
_AT_ONCE = 256  # images that are decoded between two words on how far it is


class ImageTarget(Target):
    """Labelled images.

    ram_gb: gigabytes of decoded images kept in memory at one preprocessing; disk_gb: of those that
    do not fit, kept on disk at all of them; resampling: how its
    images are resized; levels: what is black and what is white in those of more than 8 bits, both
    so that others of their kind can be prepared alike.
    """

    reads, things = ImageSpec, "images"
    resampling: Resampling = "pillow"
    levels: Levels | None = None

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
        disk_gb: float = 0.0,
    ) -> None:
        super().__init__(name, output_names, labels, fingerprint, given, contents, task)
        self.ram_gb, self.disk_gb = ram_gb, disk_gb
        self._on_disk: dict[ImageSpec, DecodedFiles] = {}
        self._stores: dict[ImageSpec, PixelStore] = {}

    def called(self, index: int) -> str:
        """What people call the image at ``index``."""
        return f"image {index}"

    def keep_copies_together(
        self, thumbs_nd: NDArray[np.uint8], progress: Progress | None = None
    ) -> None:
        """Look for near copies, and say how many there are. thumbs_nd: ``near.thumbnail`` of each.

        Those that stand in two parts of the data are named.
        """
        self.like = firsts(thumbs_nd, self.same_as, progress)
        heads = np.unique(self.same_as)
        near = heads[self.like[heads] != heads]
        if not len(near):
            return
        one = len(near) == 1
        what = "1 image is a near copy of another" if one else f"{len(near)} images are near copies"
        self.said += (
            f"{what} (one picture encoded anew, resized, slightly cropped or brightened), kept"
            f" together as one: {self._pairs([(self.like[i], i) for i in near], SHOWN)}",
        )
        if parted := self._in_two_parts():
            self.said += (f"near copies in two given parts: {self._pairs(parted, _NAMED)}",)

    def _in_two_parts(self) -> list[tuple[int, int]]:
        """Near copies, other than of the same content, that the given parts have apart."""
        part = np.full(len(self.labels), len(self.given))
        for number, rows in enumerate(self.given.values()):
            part[rows] = number
        order = np.argsort(self.like, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(self.like[order])) + 1)
        found = []
        for group in groups:
            other = (part[group] != part[group[0]]) & (self.same_as[group] != group[0])
            found += [(int(group[0]), int(i)) for i in group[other][:1]]
        return found

    def _pairs(self, pairs: Sequence[tuple[int, int]], shown: int) -> str:
        return some([f"{self.called(i)} and {self.called(j)}" for i, j in pairs], shown)

    @abstractmethod
    def pixels(self, indices: NDArray[np.int64], image: ImageSpec) -> Tensor:
        """Images brought to the channels and the size of ``image``: uint8 [k, C, size, size]."""

    def dataset(
        self, indices: ArrayLike, spec: ImageSpec, augmentation: Augmentation | None = None
    ) -> ImageDataset:
        """The images at ``indices``, in that order, preprocessed as ``spec`` says.

        They are decoded now and kept, once for every dataset of the same ``spec``, if they fit
        into ``ram_gb``, or in files, if they fit into ``disk_gb``; else they are decoded each time
        they are read. augmentation: the view of each that is asked for, None for the image as it
        is. Raises IndexError for an index that is not there.
        """
        from tlsweep.target.dataset import ImageDataset

        ids = self.places(indices)
        return ImageDataset(self, ids, spec, self._filled(ids, spec), augmentation)

    def prepared(self, indices: NDArray[np.int64], image: ImageSpec) -> Tensor:
        """What ``pixels`` gives, from where they are kept or can be."""
        store = self._filled(indices, image)
        found = None if store is None else store.read(indices)
        return self.pixels(indices, image) if found is None else found

    def forget(self) -> None:
        """Keep none of the prepared images; a copy of this target has a memory of its own then."""
        self._stores, self._on_disk = {}, {}

    def _filled(self, ids: NDArray[np.int64], image: ImageSpec) -> PixelStore | DecodedFiles | None:
        """Where these images are kept, decoded now if they were not; None if they do not fit."""
        store = self._stores.setdefault(image, PixelStore(len(self.labels), image, self.ram_gb))
        decode = partial(self._decoded, image)
        if store.fill(ids, decode):
            return store
        files = self._on_disk.setdefault(image, self._files_of(image))
        return files if files.fill(ids, decode) else None

    def _files_of(self, spec: ImageSpec) -> DecodedFiles:
        contents = self.contents
        if contents is None:
            return DecodedFiles([""] * len(self.labels), spec, None, 0)
        return DecodedFiles(contents, spec, self.levels, self.disk_gb)

    def _decoded(self, spec: ImageSpec, ids: NDArray[np.int64]) -> Iterator[Tensor]:
        """Images ``ids``, some at a time; how far it is is told where they are many."""
        for at in range(0, len(ids), _AT_ONCE):
            yield self.pixels(ids[at : at + _AT_ONCE], spec)
            if self.progress is not None and len(ids) > _AT_ONCE:
                self.progress(min(at + _AT_ONCE, len(ids)), len(ids), "decoding images")
