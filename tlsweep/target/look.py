"""One look at every image file of a target: what cannot be read, and what all have in common."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal
from tlsweep.target.base import Progress
from tlsweep.target.decode import Readable, TooLargeError, open_image, upright, why_not
from tlsweep.target.levels import ALL_16_BITS, declared, is_wide, wide_pixels
from tlsweep.target.limits import Reading
from tlsweep.target.near import thumbnail
from tlsweep.target.several import images, in_threads, some
from tlsweep.terms import Levels

if TYPE_CHECKING:
    from PIL.Image import Image

Files = Sequence[tuple[str, Readable]]
"""Files, by what people call each."""
_NAMED = 10  # files that are left out
_FLAT = 16  # of 256 levels: the usual wide image covers fewer where a few numbers lie far off


@dataclass(frozen=True)
class Look:
    """What one file holds.

    digest: of its content; why_not: why it cannot be decoded; too_many: its pixels, if these are
    why; plain: one colour all over; span: the least and the greatest number of an image of more
    than 8 bits; levels: the same, with what the file says of its range; thumb: ``near.thumbnail``
    of it, where near copies are looked for.
    """

    digest: str = ""
    why_not: str | None = None
    too_many: int = 0
    plain: bool = False
    span: Levels | None = None
    levels: Levels | None = None
    thumb: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Seen:
    """What the files of a target are like, all together.

    kept: places of those that can be used; contents: a digest of each of these; levels: what is
    black and what is white in those of more than 8 bits; said: what a user should know of them, a
    sentence each; thumbs: where near copies are looked for, ``near.thumbnail`` of each.
    """

    kept: tuple[int, ...]
    contents: tuple[str, ...]
    levels: Levels | None
    said: tuple[str, ...]
    thumbs: NDArray[np.uint8] | None

    def print_of(self, files: Files) -> bytes:
        """What tells these files from others: their names and contents, and how they are read.

        files: those that are used.
        """
        named = [called for called, _ in files]
        lines = [f"{n} {content}\n" for n, content in zip(named, self.contents, strict=True)]
        return "".join([*lines, *([] if self.levels is None else [f"{self.levels}\n"])]).encode()


def look_at(files: Files, where: str, reading: Reading, progress: Progress | None) -> Seen:
    """Read and decode every file once, so that a damaged one is named now and not hours later.

    where: the key and the value that named them. Raises Refusal with the images that cannot be
    decoded, unless they are to be left out.
    """
    looks: list[Look] = []
    for look in in_threads(partial(_look, reading=reading), [path for _, path in files]):
        looks.append(look)
        if progress is not None:
            progress(len(looks), len(files), "checking images")
    if reading.on_error == "refuse" and (faults := _damage(files, looks, where, reading)):
        raise Refusal(*faults)
    kept = tuple(i for i, look in enumerate(looks) if look.why_not is None)
    used = [looks[i] for i in kept]
    levels = _levels(used)
    plain = [files[i][0] for i in kept if looks[i].plain]
    said = [*_left_out(files, looks), *_wide(used, levels), *_plain(plain)]
    thumbs = [look.thumb for look in used if look.thumb is not None]
    return Seen(
        kept,
        tuple(look.digest for look in used),
        levels,
        tuple(said),
        np.stack(thumbs) if thumbs else None,
    )


def _damage(files: Files, looks: Sequence[Look], where: str, reading: Reading) -> list[Fault]:
    leave = "target.on_error=skip leaves them out"
    found = []
    if damaged := [name for name, look in _unread(files, looks) if not look.too_many]:
        value = f"{where}, {len(damaged)} of {len(files)} images: {some(damaged)}"
        mend = f"delete these files, or save them again; {leave}"
        found.append(Fault(value, "every image can be decoded", mend))
    if large := [(name, look) for name, look in _unread(files, looks) if look.too_many]:
        value = f"{where}, {len(large)} of {len(files)} images: {some([name for name, _ in large])}"
        rule = f"an image has {reading.max_pixels} pixels at most"
        most = max(look.too_many for _, look in large)
        mend = f"target.max_pixels={most} where the memory holds them; {leave}"
        found.append(Fault(value, rule, mend))
    return found


def _unread(files: Files, looks: Sequence[Look]) -> list[tuple[str, Look]]:
    both = zip(files, looks, strict=True)
    return [(f"{name} ({look.why_not})", look) for (name, _), look in both if look.why_not]


def _left_out(files: Files, looks: Sequence[Look]) -> list[str]:
    unread = [name for name, _ in _unread(files, looks)]
    if not unread:
        return []
    what = f"{len(unread)} of {len(files)} images are left out, since they cannot be read"
    return [f"{what}: {some(unread, _NAMED)}"]


def _look(file: Readable, reading: Reading) -> Look:
    try:
        content = file.read_bytes()
    except OSError as error:
        return Look(why_not=error.strerror or type(error).__name__)
    digest = hashlib.sha256(content).hexdigest()
    if not content:
        return Look(digest, "empty file")
    try:
        with open_image(BytesIO(content), reading.max_pixels) as opened:
            look = _decoded(opened, digest)
            if reading.twins == "exact":
                return look
            # by its own range: near copies may differ in contrast
            low, high = look.span or (0.0, 1.0)
            return replace(look, thumb=thumbnail(upright(opened, 3, (low, max(high, low + 1e-9)))))
    except TooLargeError as error:
        return Look(digest, str(error), too_many=error.pixels)
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more, by format
        # and by where the damage is.
        return Look(digest, why_not(error))


def _decoded(opened: Image, digest: str) -> Look:
    if not is_wide(opened):
        opened.load()
        ends = np.atleast_2d(opened.getextrema())
        return Look(digest, plain=bool((ends[:, 0] == ends[:, 1]).all()))
    pixels, _ = wide_pixels(opened)
    span = low, high = float(pixels.min()), float(pixels.max())
    told = declared(opened) or span
    levels = (min(low, told[0]), max(high, told[1]))
    plain = bool((pixels == pixels[0, 0]).all())
    return Look(digest, plain=plain, span=span, levels=levels)


def _levels(looks: Sequence[Look]) -> Levels | None:
    """One range for all images of more than 8 bits: nothing is clipped, and all compare."""
    found = [look.levels for look in looks if look.levels is not None]
    if not found:
        return None
    low, high = min(low for low, _ in found), max(high for _, high in found)
    if low == high:  # one number in all of them: any range shows it
        return min(low, ALL_16_BITS[0]), max(high, ALL_16_BITS[1])
    return low, high


def _wide(looks: Sequence[Look], levels: Levels | None) -> list[str]:
    if levels is None:
        return []
    low, high = levels
    spans = [look.span for look in looks if look.span is not None]
    said = f"{images(len(spans))} of more than 8 bits: numbers from {low:g} to {high:g}, the range"
    said += " of all of them, are scaled to 0 to 255"
    usual = float(np.median([most - least for least, most in spans])) * 256 / (high - low)
    if usual < _FLAT:
        said += f"; half of them have {math.ceil(usual)} of these 256 levels or fewer, since a few"
        said += " numbers lie far from all others"
    return [said]


def _plain(plain: Sequence[str]) -> list[str]:
    return [f"{images(len(plain))} of one colour all over: {some(plain)}"] if plain else []
