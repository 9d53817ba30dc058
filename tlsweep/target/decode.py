"""Image files to pixels: every mode and orientation to what a viewer would show."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlsweep.target.pixels import centred, fit_arrays, resized
from tlsweep.terms import ImageSpec, Resampling

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
_WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def verify(content: bytes) -> str | None:
    """Decode a file's content once; why it cannot be decoded, or None if it can."""
    from PIL import Image

    if not content:
        return "empty file"
    try:
        with Image.open(BytesIO(content)) as image:
            image.load()
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, a decompression
        # bomb's own error and more, by format and by where the damage is.
        return why_not(error)
    return None


def why_not(error: Exception) -> str:
    """Why an image cannot be decoded, in a few words, from what its decoder raised."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):  # its text names a buffer of ours
        return "not an image, or of a format that is not known"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0][:80] if lines else type(error).__name__


def read_image(path: Path, image: ImageSpec, how: Resampling = "pillow") -> NDArray[np.uint8]:
    """Decode a file and bring it to ``image``: uint8 [C, size, size].

    Raises what Pillow raises for a file that cannot be decoded.
    """
    from PIL import Image

    with Image.open(path) as opened:
        return fit_image(opened, image, how)


def fit_image(opened: Image, image: ImageSpec, how: Resampling = "pillow") -> NDArray[np.uint8]:
    """Bring an opened image to ``image``: uint8 [C, size, size].

    It is resized (antialiased), then the centre is cropped, as ``image`` says.
    how: "torch" for what targets of arrays do.
    """
    from PIL import Image

    if how == "torch":
        return _fit_as_array(opened, image)
    upright = _upright(opened, image.channels)
    height, width = resized(upright.height, upright.width, image)
    if (width, height) != upright.size:
        resampling = Image.Resampling[image.interpolation.upper()]
        upright = upright.resize((width, height), resampling)
    left, top = centred(width, image.size), centred(height, image.size)
    cropped = upright.crop((left, top, left + image.size, top + image.size))
    return _channels_first(cropped)


def _fit_as_array(opened: Image, image: ImageSpec) -> NDArray[np.uint8]:
    import torch

    grey = opened.mode in ("1", "L", "LA", "F", *_WIDE_MODES)
    pixels = _channels_first(_upright(opened, 1 if grey else 3))
    fitted: NDArray[np.uint8] = fit_arrays(torch.tensor(pixels)[None], image)[0].numpy()
    return fitted


def _channels_first(image: Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _upright(opened: Image, channels: int) -> Image:
    """The image turned as its EXIF orientation says, in 8 bits, grey or RGB."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(opened)
    if image.mode in _WIDE_MODES:
        # Pillow's own conversion clips 16 bits at 255, which turns most of such an image white.
        wide = np.asarray(image, dtype=np.float64)
        image = Image.fromarray(np.clip(np.round(wide / 257), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        # Dropping alpha would show whatever colour lies under the clear parts, often black.
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("L" if channels == 1 else "RGB")
