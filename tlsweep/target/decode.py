"""Image files to pixels: every mode and orientation to what a viewer would show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlsweep.target.levels import is_wide, narrowed, usual_levels
from tlsweep.target.pixels import centred, fit_arrays, resized
from tlsweep.terms import ImageSpec, Levels, Resampling

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")


def why_not(error: Exception) -> str:
    """Why an image cannot be decoded, in a few words, from what its decoder raised."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):  # its text names a buffer of ours
        return "not an image, or of a format that is not known"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0][:80] if lines else type(error).__name__


def read_image(
    path: Path, image: ImageSpec, how: Resampling = "pillow", levels: Levels | None = None
) -> NDArray[np.uint8]:
    """Decode a file and bring it to ``image``: uint8 [C, size, size].

    Raises what Pillow raises for a file that cannot be decoded.
    """
    from PIL import Image

    with Image.open(path) as opened:
        return fit_image(opened, image, how, levels)


def fit_image(
    opened: Image, image: ImageSpec, how: Resampling = "pillow", levels: Levels | None = None
) -> NDArray[np.uint8]:
    """Bring an opened image to ``image``: uint8 [C, size, size].

    It is resized (antialiased), then the centre is cropped, as ``image`` says.
    how: "torch" for what targets of arrays do; levels: what is black and what is white where it has
    more than 8 bits, None for what such an image says itself. Raises ValueError where it does not.
    """
    from PIL import Image

    if how == "torch":
        return _fit_as_array(opened, image, levels)
    upright = _upright(opened, image.channels, levels)
    height, width = resized(upright.height, upright.width, image)
    if (width, height) != upright.size:
        resampling = Image.Resampling[image.interpolation.upper()]
        upright = upright.resize((width, height), resampling)
    left, top = centred(width, image.size), centred(height, image.size)
    cropped = upright.crop((left, top, left + image.size, top + image.size))
    return _channels_first(cropped)


def _fit_as_array(opened: Image, image: ImageSpec, levels: Levels | None) -> NDArray[np.uint8]:
    import torch

    grey = opened.mode in ("1", "L", "LA", "F") or opened.mode.startswith("I")
    pixels = _channels_first(_upright(opened, 1 if grey else 3, levels))
    fitted: NDArray[np.uint8] = fit_arrays(torch.tensor(pixels)[None], image)[0].numpy()
    return fitted


def _channels_first(image: Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _upright(opened: Image, channels: int, levels: Levels | None) -> Image:
    """The image turned as its EXIF orientation says, in 8 bits, grey or RGB."""
    from PIL import Image, ImageOps

    if is_wide(opened):
        opened = narrowed(opened, levels or usual_levels(opened))
    image = ImageOps.exif_transpose(opened)
    if image.has_transparency_data:
        # Dropping alpha would show whatever colour lies under the clear parts, often black.
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("L" if channels == 1 else "RGB")
