"""Printed capital letters, drawn from the fonts that come inside matplotlib, and bent at random."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tlsweep.glyphs.fonts import drawn
from tlsweep.terms import ImageSpec

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SHEET_SIZE = 64  # px of a drawn letter before warping, twice the network's input
FONT_SIZE = 44  # px; the widest letter (W, bold) still fits the sheet
IMAGE = ImageSpec(channels=1, size=32, mean=(0.2,), std=(0.35,), resize=32)


@dataclass(frozen=True)
class Warp:
    """Ranges that each rendering is drawn from, uniformly.

    rotation: degrees either way; shear: ratio either way; smallest, largest: scale of either axis;
    shift: share of half the image, either way; coarse: share of the renderings that pass through
    a raster of coarse_size x coarse_size pixels, as small scans do. Without it the features suit
    sharp edges only: on scans of 8 x 8 pixels the best block then beats raw pixels by 1 % instead
    of 5 %.
    """

    rotation: float = 12.0
    shear: float = 0.2
    smallest: float = 0.75
    largest: float = 1.15
    shift: float = 0.12
    coarse: float = 0.5
    coarse_size: int = 8


def draw_sheets() -> Tensor:
    """Every letter in every font, centred, white on black: uint8 [fonts * 26, 1, 64, 64].

    Sheet ``i`` shows letter ``i % 26``.
    """
    return torch.from_numpy(drawn(LETTERS, FONT_SIZE, SHEET_SIZE)).unsqueeze(1)


def render(sheets: Tensor, n: int, warp: Warp, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``n`` random renderings: normalised float32 [n, 1, 32, 32] and their letters, int64 [n]."""
    chosen = torch.randint(len(sheets), (n,), generator=generator)
    theta = _random_affine(n, warp, generator)
    grid = F.affine_grid(theta, [n, 1, IMAGE.size, IMAGE.size], align_corners=False)
    x_bchw = F.grid_sample(sheets[chosen].float() / 255, grid, align_corners=False)
    n_coarse = round(n * warp.coarse)
    x_bchw[:n_coarse] = _through_raster(x_bchw[:n_coarse], warp.coarse_size)
    return (x_bchw - IMAGE.mean[0]) / IMAGE.std[0], chosen % len(LETTERS)


def _through_raster(x_bchw: Tensor, size: int) -> Tensor:
    if len(x_bchw) == 0:
        return x_bchw
    coarse = F.interpolate(x_bchw, size=size, mode="bilinear", antialias=True)
    return F.interpolate(coarse, size=x_bchw.shape[-1], mode="bilinear", antialias=True)


def _random_affine(n: int, warp: Warp, generator: torch.Generator) -> Tensor:
    """Inverse maps, output to sheet coordinates: [n, 2, 3]."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    angle = uniform(-warp.rotation, warp.rotation) * math.pi / 180
    shear = uniform(-warp.shear, warp.shear)
    scale_x, scale_y = (uniform(warp.smallest, warp.largest) for _ in "xy")
    shift_x, shift_y = (uniform(-warp.shift, warp.shift) for _ in "xy")
    cos, sin = angle.cos(), angle.sin()
    row_x = torch.stack([cos / scale_x, (sin + shear * cos) / scale_x, shift_x], dim=1)
    row_y = torch.stack([-sin / scale_y, (cos - shear * sin) / scale_y, shift_y], dim=1)
    return torch.stack([row_x, row_y], dim=1)
