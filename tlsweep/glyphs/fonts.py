"""Letters drawn with the fonts that come inside matplotlib, the same on every machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal

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


def font_files() -> tuple[Path, ...]:
    """The font files, in the order of FONTS. Raises Refusal naming those that are not there."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = tuple(folder / f"{name}.ttf" for name in FONTS)
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise Refusal(
            Fault(
                f"glyphs without {', '.join(absent)} in {folder}",
                "glyphs are drawn with the fonts that come inside matplotlib",
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


def drawn(letters: str, font_size: int, sheet_size: int) -> NDArray[np.uint8]:
    """Every letter in every font, centred, white on black: uint8 [fonts * letters, size, size].

    Font by font. font_size, sheet_size: in pixels.
    """
    from PIL import ImageFont

    sheets: list[NDArray[np.uint8]] = []
    for file in font_files():
        # BASIC: the other layout engine is an optional library and would draw other pixels.
        font = ImageFont.truetype(str(file), font_size, layout_engine=ImageFont.Layout.BASIC)
        sheets.extend(_sheet(letter, font, sheet_size) for letter in letters)
    return np.stack(sheets)


def _sheet(letter: str, font: object, size: int) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw, ImageFont

    assert isinstance(font, ImageFont.FreeTypeFont)
    left, top, right, bottom = font.getbbox(letter)
    corner = ((size - (left + right)) / 2, (size - (top + bottom)) / 2)
    image = Image.new("L", (size, size))
    ImageDraw.Draw(image).text(corner, letter, fill=255, font=font)
    return np.array(image)
