"""Decoded images: kept in memory as far as they fit, and brought to a source's size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlsweep.terms import ImageSpec

if TYPE_CHECKING:
    from torch import Tensor

# ITU-R 601 luma, the weights that Pillow's conversion to grey uses too.
_LUMA = (0.299, 0.587, 0.114)


class PixelStore:
    """Images of one target at one preprocessing, each decoded once.

    Grows as splits are asked for, so that a small fit split of a big target decodes only itself.
    """

    def __init__(self, n: int, image: ImageSpec, ram_gb: float) -> None:
        import torch

        self._row_of = np.full(n, -1, dtype=np.int64)
        self._rows = torch.empty(0, image.channels, image.size, image.size, dtype=torch.uint8)
        self._room = int(ram_gb * 2**30 / (image.channels * image.size**2))

    def fill(
        self, ids: NDArray[np.int64], decode: Callable[[NDArray[np.int64]], Iterable[Tensor]]
    ) -> bool:
        """Decode those of ``ids`` not here yet; False, and nothing done, if they do not fit.

        decode: gives them in their order, some at a time.
        """
        import torch

        new = np.unique(ids[self._row_of[ids] < 0])
        held = len(self._rows)
        if held + len(new) > self._room:
            return False
        if len(new):
            self._rows = torch.cat([self._rows, *decode(new)])
            self._row_of[new] = np.arange(held, held + len(new))
        return True

    def read(self, ids: NDArray[np.int64]) -> Tensor:
        """Images ``ids``, all of them filled before: uint8 [k, C, H, W]."""
        import torch

        return self._rows[torch.from_numpy(self._row_of[ids])]


def fit_arrays(u8_nchw: Tensor, image: ImageSpec, chunk: int = 512) -> Tensor:
    """Bring equally sized images to ``image``: channels, shorter side, centre crop; uint8.

    u8_nchw: [n, 1 or 3, h, w]; returns [n, C, size, size].
    """
    import torch

    # Chunks: resizing runs in float32, and a whole data set of floats may not fit.
    parts = [_fit_chunk(part, image) for part in torch.split(u8_nchw, chunk)]
    empty = torch.empty(0, image.channels, image.size, image.size, dtype=torch.uint8)
    return torch.cat([empty, *parts])


def _fit_chunk(u8_nchw: Tensor, image: ImageSpec) -> Tensor:
    import torch
    import torch.nn.functional as F

    x_nchw = _to_channels(u8_nchw.to(torch.float32), image.channels)
    height, width = resized(x_nchw.shape[2], x_nchw.shape[3], image)
    if (height, width) != tuple(x_nchw.shape[2:]):
        smooth = {"antialias": True, "align_corners": False}
        how = {} if image.interpolation == "nearest" else smooth
        mode = "nearest-exact" if image.interpolation == "nearest" else image.interpolation
        x_nchw = F.interpolate(x_nchw, size=(height, width), mode=mode, **how)
    top, left = centred(height, image.size), centred(width, image.size)
    x_nchw = x_nchw[:, :, top : top + image.size, left : left + image.size]
    return x_nchw.round().clamp(0, 255).to(torch.uint8)


def _to_channels(x_nchw: Tensor, channels: int) -> Tensor:
    import torch

    have = x_nchw.shape[1]
    if have == channels:
        return x_nchw
    if channels == 1:
        return (x_nchw * torch.tensor(_LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    return x_nchw.expand(-1, channels, -1, -1)


def resized(height: int, width: int, image: ImageSpec) -> tuple[int, int]:
    """Height and width, in pixels, that an image is brought to before its centre is cropped.

    The arithmetic of torchvision, whose published weights were trained and are scored with it: the
    longer side is cut to whole pixels, not rounded.
    """
    if image.squash:
        return image.resize, image.resize
    shorter = min(height, width)
    return image.resize * height // shorter, image.resize * width // shorter


def centred(length: int, size: int) -> int:
    """Where the middle ``size`` pixels of ``length`` begin; torchvision's arithmetic again."""
    return round((length - size) / 2)
