"""Printed capital letters, drawn from the fonts that come inside matplotlib, and bent at random."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tlsweep.errors import Fault, Refusal
from tlsweep.terms import ImageSpec

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-BoldOblique",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-BoldItalic",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralBolIta",
    "STIXGeneralItalic",
)
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


def font_files() -> tuple[Path, ...]:
    """The font files, in the order of FONTS. Raises Refusal naming those that are not there."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = tuple(folder / f"{name}.ttf" for name in FONTS)
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise Refusal(
            Fault(
                f"source=glyphs without {', '.join(absent)} in {folder}",
                "the glyphs source draws its letters with the fonts that come inside matplotlib",
                "pip install --force-reinstall matplotlib: the package index's has them",
            )
        )
    return files


def font_digest() -> str:
    """Hex digest of the content of all font files."""
    digest = hashlib.sha256()
    for file in font_files():
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def draw_sheets() -> Tensor:
    """Every letter in every font, centred, white on black: uint8 [fonts * 26, 1, 64, 64].

    Sheet ``i`` shows letter ``i % 26``.
    """
    from PIL import ImageFont

    sheets: list[np.ndarray[tuple[int, int], np.dtype[np.uint8]]] = []
    for file in font_files():
        # BASIC: the other layout engine is an optional library and would draw other pixels.
        font = ImageFont.truetype(str(file), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
        sheets.extend(_draw(letter, font) for letter in LETTERS)
    return torch.from_numpy(np.stack(sheets)).unsqueeze(1)


def _draw(letter: str, font: object) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    from PIL import Image, ImageDraw, ImageFont

    assert isinstance(font, ImageFont.FreeTypeFont)
    left, top, right, bottom = font.getbbox(letter)
    corner = ((SHEET_SIZE - (left + right)) / 2, (SHEET_SIZE - (top + bottom)) / 2)
    image = Image.new("L", (SHEET_SIZE, SHEET_SIZE))
    ImageDraw.Draw(image).text(corner, letter, fill=255, font=font)
    return np.array(image)


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
