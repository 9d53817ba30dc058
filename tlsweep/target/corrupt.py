"""Images made worse in ways that cameras, senders and weather make them worse.

Five of the kinds of ImageNet-C (Hendrycks and Dietterich 2019, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations"), at three severities each. They are applied to
the image as a source sees it, before it is normalised. Strengths lie within those of ImageNet-C at
224 pixels and of CIFAR-10-C at 32; blur is a share of the image's width, so that it takes as much
from a small image as from a large one.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlsweep.target.images import ImageTarget
from tlsweep.terms import ImageSpec

if TYPE_CHECKING:
    from torch import Tensor

    from tlsweep.target.augment import Augmentation
    from tlsweep.target.dataset import ImageDataset

SEVERITIES: Mapping[str, tuple[float, float, float]] = {
    "noise": (0.06, 0.12, 0.24),  # standard deviation, as a share of black to white
    "blur": (0.01, 0.02, 0.03),  # standard deviation, as a share of the image's width
    "contrast": (0.6, 0.35, 0.15),  # how much of it is left
    "jpeg": (40, 20, 8),  # quality
    "brightness": (0.15, 0.3, 0.5),  # what is added, as a share of black to white
}
"""Of each kind of corruption its three severities, the weakest first."""
SMALLEST = 32  # pixels of width: of less, a share would be no blur at all
_REACH = 3.0  # standard deviations of a blur that its kernel holds, either way


class Corrupted(ImageTarget):
    """The images of another target, corrupted; all else is that target's.

    kind: one of ``SEVERITIES``; severity: 1, 2 or 3. The same image is always corrupted alike.
    Example: ``Corrupted(target, "blur", 3)``.
    """

    def __init__(self, target: ImageTarget, kind: str, severity: int) -> None:
        """Raises KeyError for an unknown kind, IndexError for an unknown severity."""
        amount = SEVERITIES[kind][severity - 1]
        name = f"{target.fingerprint} {kind} {amount:g}"
        super().__init__(
            f"{target.name}, {kind} {severity}",
            target.output_names,
            target.labels,
            hashlib.sha256(name.encode()).hexdigest()[:16],
            ram_gb=0.0,  # they are read once: the target's own images are what is kept
            task=target.task,
        )
        self.like, self.same_as, self.groups = target.like, target.same_as, target.groups
        self._target, self._kind, self._amount = target, kind, amount

    def called(self, index: int) -> str:
        """What people call the image at ``index``."""
        return self._target.called(index)

    def dataset(
        self, indices: ArrayLike, spec: ImageSpec, augmentation: Augmentation | None = None
    ) -> ImageDataset:
        """As of every target; the images themselves are decoded now, and kept as they can be."""
        self._target.dataset(indices, spec)
        return super().dataset(indices, spec, augmentation)

    def pixels(self, indices: NDArray[np.int64], image: ImageSpec) -> Tensor:
        """The images, prepared and then corrupted: uint8 [k, C, size, size]."""
        return corrupted(self._target.prepared(indices, image), indices, self._kind, self._amount)


def corrupted(u8_bchw: Tensor, ids: NDArray[np.int64], kind: str, amount: float) -> Tensor:
    """Images uint8 [B, 1 or 3, H, W] with these indices, corrupted. Raises KeyError."""
    return _HOW[kind](u8_bchw, ids, amount)


def _noise(u8_bchw: Tensor, ids: NDArray[np.int64], amount: float) -> Tensor:
    import torch

    shape = tuple(u8_bchw.shape[1:])
    # of its index alone, so that an image does not depend on the batch it is read in
    drawn = [np.random.default_rng(int(i)).standard_normal(shape, np.float32) for i in ids]
    x_bchw = u8_bchw.to(torch.float32)
    if drawn:
        x_bchw += 255 * amount * torch.from_numpy(np.stack(drawn))
    return x_bchw.round().clamp(0, 255).to(torch.uint8)


def _blur(u8_bchw: Tensor, ids: NDArray[np.int64], amount: float) -> Tensor:
    from torchvision.transforms.v2 import functional

    width = u8_bchw.shape[-1]
    sigma = amount * max(width, SMALLEST)
    reach = min(math.ceil(_REACH * sigma), width - 1)  # what is beyond an edge is mirrored
    blurred: Tensor = functional.gaussian_blur(u8_bchw, [2 * reach + 1] * 2, [sigma] * 2)
    return blurred


def _contrast(u8_bchw: Tensor, ids: NDArray[np.int64], amount: float) -> Tensor:
    from torchvision.transforms.v2 import functional

    flattened: Tensor = functional.adjust_contrast(u8_bchw, amount)
    return flattened


def _jpeg(u8_bchw: Tensor, ids: NDArray[np.int64], amount: float) -> Tensor:
    import torch
    from PIL import Image

    found = torch.empty_like(u8_bchw)
    for row, u8_chw in enumerate(u8_bchw.numpy()):
        grey = len(u8_chw) == 1
        file = io.BytesIO()
        whole = Image.fromarray(u8_chw[0] if grey else np.moveaxis(u8_chw, 0, 2))
        whole.save(file, "JPEG", quality=int(amount))
        decoded = np.array(Image.open(file))
        found[row] = torch.from_numpy(decoded[None] if grey else np.moveaxis(decoded, 2, 0))
    return found


def _brightness(u8_bchw: Tensor, ids: NDArray[np.int64], amount: float) -> Tensor:
    import torch

    return (u8_bchw.to(torch.int16) + round(255 * amount)).clamp(0, 255).to(torch.uint8)


_HOW: Mapping[str, Callable[[Tensor, NDArray[np.int64], float], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "jpeg": _jpeg,
    "brightness": _brightness,
}
