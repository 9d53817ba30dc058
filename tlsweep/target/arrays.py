"""A target whose images are one array, all of the same size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlsweep.target.base import Progress
from tlsweep.target.images import ImageTarget
from tlsweep.target.near import thumbnail
from tlsweep.target.pixels import fit_arrays
from tlsweep.task import Classes, Task, Truth
from tlsweep.terms import ImageSpec, Resampling, Split

if TYPE_CHECKING:
    from torch import Tensor


class ArrayTarget(ImageTarget):
    """Images uint8 [n, h, w] or [n, h, w, 3] in memory, brought to a source's size when asked.

    scaled: whether they were numbers of another type, brought to 0 to 255 by their own range.
    """

    resampling: Resampling = "torch"
    scaled = False  # from the range of all of them, where they were no bytes

    def __init__(
        self,
        name: str,
        output_names: tuple[str, ...],
        images: NDArray[np.uint8],
        labels: Truth,
        given: Mapping[Split, NDArray[np.int64]] | None = None,
        ram_gb: float = 4.0,
        task: Task | None = None,
    ) -> None:
        images = images[..., np.newaxis] if images.ndim == 3 else images
        self._images = np.ascontiguousarray(images)
        task = Classes(len(output_names)) if task is None else task
        labels = np.ascontiguousarray(task.truth(labels))
        digest = hashlib.sha256(f"{output_names} {self._images.shape}".encode())
        digest.update(self._images.tobytes())
        digest.update(labels.tobytes())
        contents = [hashlib.sha256(image).digest() for image in self._images]
        fingerprint = digest.hexdigest()[:16]
        super().__init__(name, output_names, labels, fingerprint, given, ram_gb, contents, task)

    def look_for_copies(self, progress: Progress | None = None) -> None:
        """Look for near copies, which then stay together."""
        from PIL import Image

        images = (Image.fromarray(image.squeeze()) for image in self._images)
        self.keep_copies_together(np.stack([thumbnail(image) for image in images]), progress)

    def pixels(self, indices: NDArray[np.int64], image: ImageSpec) -> Tensor:
        """Bring images to ``image``: uint8 [k, C, size, size]."""
        import torch

        u8_nchw = torch.from_numpy(self._images[indices]).permute(0, 3, 1, 2)
        return fit_arrays(u8_nchw, image)
