"""Image files to pixels: every mode and orientation to what a viewer would show."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from tlsweep.target.levels import is_wide, narrowed, usual_levels
from tlsweep.target.pixels import centred, fit_arrays, resized
from tlsweep.terms import ImageSpec, Levels, Resampling

if TYPE_CHECKING:
    from PIL.Image import Image


class Readable(Protocol):
    """A file, or what stands for one: in a zip, in a table."""

    def read_bytes(self) -> bytes:
        """The whole content. Raises OSError where it cannot be read."""


MAX_PIXELS = 178_956_970  # where Pillow itself refuses an image as a decompression bomb
USUAL = ".jpg, .png, .tif, .webp and others that Pillow reads"
_NOT_READ = {
    "EPS",  # runs another program, Ghostscript
    "PSD",  # layers; the picture that they make is often not stored
    *("BUFR", "GRIB", "HDF5", "MPEG", "WMF"),  # Pillow knows what they are and decodes none
}
_BUILT_IN = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}  # if Pillow was built so
MENDS = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "pip install pillow-heif reads them"),
    **dict.fromkeys((".avif", ".avifs"), "a Pillow that was built with AVIF reads them"),
    **dict.fromkeys(
        (".eps", ".ps", ".pdf", ".svg", ".psd", ".wmf", ".dcm", ".cr2", ".nef", ".arw", ".dng"),
        "they are read once they are saved as PNG or TIFF",
    ),
}
"""What helps where files with images end so, and are not read."""


@functools.cache
def formats() -> tuple[str, ...]:
    """The formats of images that are read: those of Pillow, and of pillow_heif where it is."""
    from PIL import Image, features

    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.preinit()  # the usual formats are tried first
    Image.init()
    lacks = {name for name, part in _BUILT_IN.items() if not features.check(part)}
    return tuple(name for name in Image.ID if name not in _NOT_READ | lacks)


@functools.cache
def endings() -> frozenset[str]:
    """How files of these formats end, in small letters."""
    from PIL import Image

    read = {*formats(), "MPO"}  # which Pillow opens as JPEG
    return frozenset(end for end, name in Image.registered_extensions().items() if name in read)


class _PillowsLimit:
    """Pillow's own limit of pixels, put aside: ours is a setting, told in a sentence."""

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._limit: int | None = None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Within, Pillow neither warns nor refuses. Threads may be within at once."""
        from PIL import Image

        with self._lock:
            if not self._users:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    Image.MAX_IMAGE_PIXELS = self._limit


_LIMIT = _PillowsLimit()


class TooLargeError(ValueError):
    """An image of more pixels than are allowed. pixels: how many it has."""

    def __init__(self, size: tuple[int, int], most: int) -> None:
        self.pixels = size[0] * size[1]
        super().__init__(f"{size[0]} x {size[1]} pixels, more than {most}")


@contextmanager
def open_image(file: Readable | BytesIO, most: int = MAX_PIXELS) -> Iterator[Image]:
    """An image of the formats that are read; its pixels may be read within.

    most: pixels that it may have. Raises TooLargeError, and what Pillow raises for no image.
    """
    from PIL import Image

    data = file if isinstance(file, Path | BytesIO) else BytesIO(file.read_bytes())
    with _LIMIT.aside(), Image.open(data, formats=formats()) as opened:
        if opened.width * opened.height > most:
            raise TooLargeError(opened.size, most)
        yield opened


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
    path: Readable,
    image: ImageSpec,
    how: Resampling = "pillow",
    levels: Levels | None = None,
    most: int = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """Decode a file and bring it to ``image``: uint8 [C, size, size].

    levels, most: as ``fit_image`` and ``open_image`` have them. Raises what Pillow raises for a
    file that cannot be decoded.
    """
    with open_image(path, most) as opened:
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
    turned = upright(opened, image.channels, levels)
    height, width = resized(turned.height, turned.width, image)
    if (width, height) != turned.size:
        resampling = Image.Resampling[image.interpolation.upper()]
        turned = turned.resize((width, height), resampling)
    left, top = centred(width, image.size), centred(height, image.size)
    cropped = turned.crop((left, top, left + image.size, top + image.size))
    return _channels_first(cropped)


def _fit_as_array(opened: Image, image: ImageSpec, levels: Levels | None) -> NDArray[np.uint8]:
    import torch

    grey = opened.mode in ("1", "L", "LA", "F") or opened.mode.startswith("I")
    pixels = _channels_first(upright(opened, 1 if grey else 3, levels))
    fitted: NDArray[np.uint8] = fit_arrays(torch.tensor(pixels)[None], image)[0].numpy()
    return fitted


def _channels_first(image: Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def upright(opened: Image, channels: int, levels: Levels | None) -> Image:
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
