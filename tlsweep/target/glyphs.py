"""Small targets that are drawn: printed lower-case letters, and what is to be told of each.

``glyph_angle``: by how many degrees it is turned (a number). ``glyph_attributes``: which of bold,
slanted, serif and monospaced its font is (labels). Both are made anew, the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Refusal
from tlsweep.glyphs.fonts import FONTS, drawn, font_files
from tlsweep.section import TargetSettings
from tlsweep.target.arrays import ArrayTarget
from tlsweep.target.base import Progress
from tlsweep.target.limits import ram_faults
from tlsweep.task import Labels, Numbers
from tlsweep.task.numbers import spread_of


class Settings(TargetSettings):
    """conf/target/{glyph_angle,glyph_attributes}.yaml."""

    name: Literal["glyph_angle", "glyph_attributes"]


LETTERS = "abcdefghijklmnpqrstuvwxyz"  # without o: it looks alike however it is turned
SHEET, FONT_SIZE, SIZE = 96, 44, 32  # pixels of a sheet, of a letter on it, of an image
IMAGES = 1500
MOST = 45.0  # degrees either way
SMALLEST, LARGEST = 0.8, 1.1  # scale of a letter
ATTRIBUTES = {
    "bold": ("Bold", "Bol"),
    "slanted": ("Oblique", "Ita"),
    "serif": ("Serif", "STIX"),
    "monospaced": ("Mono",),
}


@dataclass(frozen=True)
class _Drawn:
    """Images uint8 [n, 32, 32], the font of each, and by how many degrees it is turned."""

    images: NDArray[np.uint8]
    font_n: NDArray[np.int64]
    degrees_n: NDArray[np.float64]


def check(dataset_name: str, *, ram_gb: float = 4.0, progress: Progress | None = None) -> None:
    """Raise Refusal if ``ram_gb`` is not a positive number, or fonts are missing."""
    if faults := ram_faults(ram_gb):
        raise Refusal(*faults)
    font_files()


def open(  # noqa: A001  (always called as glyphs.open)
    dataset_name: str, *, ram_gb: float = 4.0, progress: Progress | None = None
) -> ArrayTarget:
    """Open ``glyph_angle`` or ``glyph_attributes``."""
    check(dataset_name, ram_gb=ram_gb)
    return _TARGETS[dataset_name](ram_gb)


def _angle(ram_gb: float) -> ArrayTarget:
    made = _draw(MOST)
    degrees_n1 = made.degrees_n[:, None]
    task = Numbers(1, spread=spread_of(degrees_n1), unit="degrees")
    return ArrayTarget("glyph_angle", ("angle",), made.images, degrees_n1, ram_gb=ram_gb, task=task)


def _attributes(ram_gb: float) -> ArrayTarget:
    made = _draw(10.0)
    of_font = [[any(w in font for w in words) for words in ATTRIBUTES.values()] for font in FONTS]
    return ArrayTarget(
        "glyph_attributes", tuple(ATTRIBUTES), made.images, np.array(of_font)[made.font_n],
        ram_gb=ram_gb, task=Labels(len(ATTRIBUTES)),
    )  # fmt: skip


def _draw(most: float) -> _Drawn:
    """Random letters, turned by up to ``most`` degrees either way, shrunk or grown a little."""
    from PIL import Image

    rng = np.random.default_rng(0)
    sheets = drawn(LETTERS, FONT_SIZE, SHEET)
    chosen, degrees_n = rng.integers(0, len(sheets), IMAGES), rng.uniform(-most, most, IMAGES)
    images = np.empty((IMAGES, SIZE, SIZE), np.uint8)
    for n, (sheet, degrees) in enumerate(zip(chosen, degrees_n, strict=True)):
        turned = Image.fromarray(sheets[sheet]).rotate(degrees, Image.Resampling.BICUBIC)
        # what is cut out around the centre is brought to the image: less of it, a larger letter
        half = SIZE / rng.uniform(SMALLEST, LARGEST)
        middle = SHEET / 2 + rng.uniform(-3, 3, 2)
        box = (*(middle - half), *(middle + half))
        small = turned.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
        images[n] = np.asarray(small)
    return _Drawn(images, chosen // len(LETTERS), degrees_n)


_TARGETS: dict[str, Callable[[float], ArrayTarget]] = {
    "glyph_angle": _angle,
    "glyph_attributes": _attributes,
}
