"""Pixels of more than 8 bits: read in full, and brought to 8 bits by one range for all."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlsweep.terms import Levels

if TYPE_CHECKING:
    from PIL.Image import Image

ALL_16_BITS: Levels = (0.0, 65535.0)
_ONE_BAND = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_BANDS = re.compile(r"(RGB|RGBA|RGBX);16([BLN])")
_OTHER_END = {"B": "L", "L": "B", "N": "B"}  # N: as libtiff gives it, little end first
_GREY_ALPHA = "LA;16B"
# tags of TIFF
_BITS, _LEAST, _MOST, _PLANES, _FORMAT, _OWN_LEAST, _OWN_MOST = 258, 280, 281, 284, 339, 340, 341


def is_wide(opened: Image) -> bool:
    """Whether an image has more than 8 bits a channel. Asked before its pixels are read.

    Raises ValueError where they cannot be read in full.
    """
    if opened.mode in _ONE_BAND or _rawmodes(opened):
        return True
    tags = _tags(opened)
    if tags.get(_PLANES, 1) == 2 and 16 in tags.get(_BITS, ()):
        raise ValueError("16 bits a channel in planes of their own")  # Pillow takes them for 8 bits
    return False


def wide_pixels(opened: Image) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Every number of a wide image, [h, w] or [h, w, 3], and how opaque it is, where that is told.

    Raises ValueError for numbers that are not finite.
    """
    if opened.mode in _ONE_BAND:
        pixels = np.asarray(opened)
        if opened.mode == "I" and _tags(opened).get(_FORMAT, (2,)) == (1,):
            pixels = pixels.view(np.uint32)
        if not np.isfinite(pixels).all():
            raise ValueError("pixels that are no finite numbers")
        return pixels, None
    if _GREY_ALPHA in _rawmodes(opened):
        pairs = np.asarray(_read_as(opened, {_GREY_ALPHA: "RGBA"}))  # 4 bytes a pixel, as they lie
        return pairs[..., 0] * np.uint16(256) + pairs[..., 1], pairs[..., 2]
    # Pillow keeps the upper byte of each number, and the lower one where the ends are told swapped
    swapped = {raw: _swapped(raw) for raw in _rawmodes(opened)}
    low, high = np.asarray(_read_as(opened, swapped)), np.asarray(_read_as(opened, {}))
    clear = high[..., 3] if high.shape[2] == 4 else None
    return high[..., :3] * np.uint16(256) + low[..., :3], clear


def declared(opened: Image) -> Levels | None:
    """The range of numbers that a file says it has, None where it says nothing of use."""
    if opened.format == "PPM" and opened.mode == "I":
        return ALL_16_BITS  # Pillow has scaled it, by what the file says
    tags = _tags(opened)
    for least, most in ((_OWN_LEAST, _OWN_MOST), (_LEAST, _MOST)):
        low, high = _number(tags.get(least), min), _number(tags.get(most), max)
        if high is not None and np.isfinite([low or 0.0, high]).all() and (low or 0.0) < high:
            return low or 0.0, high
    return (0.0, 4095.0) if tags.get(_BITS) == (12,) else None


def usual_levels(opened: Image) -> Levels:
    """The range of an image that stands alone. Raises ValueError where nothing tells it."""
    if found := declared(opened):
        return found
    if opened.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits, whose range nothing tells")
    return ALL_16_BITS


def narrowed(opened: Image, levels: Levels) -> Image:
    """A wide image in 8 bits: ``levels`` become 0 and 255."""
    from PIL import Image

    pixels, opaque = wide_pixels(opened)
    low, high = levels
    scaled = np.round((pixels.astype(np.float64) - low) * (255 / (high - low)))
    image = Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    if opaque is not None:
        image.putalpha(Image.fromarray(np.ascontiguousarray(opaque)))
    image.getexif().update(opened.getexif())  # how it is to be turned
    return image


def _tags(opened: Image) -> Any:
    return getattr(opened, "tag_v2", {})


def _number(value: Any, of: Any) -> float | None:
    """The number of a tag, or that of its several ones."""
    try:
        return float(of(value)) if isinstance(value, tuple) else float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _rawmodes(opened: Image) -> list[str]:
    """How the file holds more bits than the opened image has; none of an image read before."""
    found = [_rawmode(tile.args) for tile in getattr(opened, "tile", ())]
    return [raw for raw in found if raw == _GREY_ALPHA or _BANDS.fullmatch(raw)]


def _rawmode(args: Any) -> str:
    return str(args[0] if isinstance(args, tuple) and args else args)


def _swapped(raw: str) -> str:
    return _BANDS.sub(lambda m: f"{m[1]};16{_OTHER_END[m[2]]}", raw)


def _read_as(opened: Image, other: dict[str, str]) -> Image:
    """The same file once more, with other words for how its bytes lie."""
    from PIL import Image

    file = opened.fp  # type: ignore[attr-defined]
    here = file.tell()
    file.seek(0)
    again = Image.open(BytesIO(file.read()), formats=[opened.format or ""])
    file.seek(here)
    tiles = []
    for tile in again.tile:
        raw = _rawmode(tile.args)
        named = other.get(raw, raw)
        rest = tile.args[1:] if isinstance(tile.args, tuple) else None
        tiles.append(tile._replace(args=named if rest is None else (named, *rest)))
    again.tile = tiles
    again.load()
    return again
