"""Decoded images that do not fit into memory: kept in files, which every process finds again.

A file holds the images of one request at one preprocessing, under a name that tells the content of
their files and how they were prepared. It is written under another name, whole, and renamed: a
reader sees all of it or nothing, whatever is killed.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Refusal
from tlsweep.files import cache_folder, make_folder
from tlsweep.terms import ImageSpec, Levels

if TYPE_CHECKING:
    from torch import Tensor

_KEPT, _BEGUN = ".npy", ".part"
_LEFT = 3600.0  # seconds without a write: what was begun is of a process that is no more
_MAKER = 1  # another number where images are decoded in another way


def decoded_folder() -> Path:
    """Where they are kept, in the user's cache folder."""
    return cache_folder() / "decoded"


def decoded_files() -> list[tuple[Path, int]]:
    """Each file of decoded images, whole or begun, and its bytes."""
    found = []
    for file in sorted(decoded_folder().glob("*")):
        with suppress(FileNotFoundError):  # another process took it away
            found.append((file, file.stat().st_size))
    return found


def clear_decoded() -> list[Path]:
    """Take away every file that is whole; who reads one decodes its images anew."""
    gone = [file for file, _ in decoded_files() if file.suffix == _KEPT]
    for file in gone:
        file.unlink(missing_ok=True)
    return gone


class DecodedFiles:
    """Images of one target at one preprocessing, as far as ``budget_gb`` of disk holds them.

    contents: a digest of each image's file; levels: what is black and white in those of more than 8
    bits. Has the two methods of ``PixelStore``.
    """

    def __init__(
        self,
        contents: Sequence[bytes | str],
        image: ImageSpec,
        levels: Levels | None,
        budget_gb: float,
    ) -> None:
        self._contents, self._image, self._levels = contents, image, levels
        self._budget = int(budget_gb * 2**30)
        self._file_of = np.full(len(contents), -1, dtype=np.int64)
        self._row_of = np.zeros(len(contents), dtype=np.int64)
        self._files: list[Path] = []

    def fill(
        self, ids: NDArray[np.int64], decode: Callable[[NDArray[np.int64]], Iterable[Tensor]]
    ) -> bool:
        """Find or decode those of ``ids`` not here yet; False where they cannot be kept.

        decode: gives them in their order, some at a time.
        """
        new = np.unique(ids[self._file_of[ids] < 0])
        if not len(new):
            return True
        if not self._budget:
            return False
        file = decoded_folder() / f"{self._key(new)}{_KEPT}"
        if not self._is_whole(file, len(new)) and not self._write(file, len(new), decode(new)):
            return False
        self._file_of[new], self._row_of[new] = len(self._files), np.arange(len(new))
        self._files.append(file)
        return True

    def read(self, ids: NDArray[np.int64]) -> Tensor | None:
        """Images ``ids``, all of them filled before: uint8 [k, C, H, W]; None if one is gone."""
        import torch

        out = np.empty((len(ids), *self._shape), dtype=np.uint8)
        for number in np.unique(self._file_of[ids]):
            here = self._file_of[ids] == number
            try:
                stored = np.load(self._files[number], mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError):  # another process needed the room
                return None
            out[here] = stored[self._row_of[ids[here]]]
        return torch.from_numpy(out)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self._image.channels, self._image.size, self._image.size

    def _key(self, ids: NDArray[np.int64]) -> str:
        """What these images are, and how they are prepared; mean and deviation come later."""
        import PIL

        image = self._image
        how = (*self._shape, image.resize, image.interpolation, image.squash, self._levels)
        digest = hashlib.sha256(f"{_MAKER} {PIL.__version__} {how}\n".encode())
        for i in ids.tolist():
            digest.update(f"{self._contents[i]!r}\n".encode())
        return digest.hexdigest()[:32]

    def _is_whole(self, file: Path, n: int) -> bool:
        try:
            found = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return False
        if found.shape != (n, *self._shape) or found.dtype != np.uint8:
            return False
        with suppress(OSError):
            os.utime(file)  # used: others go first
        return True

    def _write(self, file: Path, n: int, parts: Iterable[Tensor]) -> bool:
        """Write a file whole; False where there is no room for it."""
        needed = n * int(np.prod(self._shape))
        try:
            folder = make_folder(file.parent)
            if needed > self._budget or not _make_room(folder, self._budget - needed, self._files):
                return False
        except (OSError, Refusal):  # a folder that cannot be written to costs time, and no run
            return False
        begun = folder / f".{file.stem}.{uuid.uuid4().hex}{_BEGUN}"
        header = {"descr": "|u1", "fortran_order": False, "shape": (n, *self._shape)}
        try:
            with begun.open("xb") as out:
                np.lib.format.write_array_header_1_0(out, header)
                for part in parts:
                    out.write(part.numpy().tobytes())
                out.flush()
                os.fsync(out.fileno())
            begun.replace(file)
        except OSError:  # the disk is full
            return False
        finally:
            begun.unlink(missing_ok=True)
        return True


def _make_room(folder: Path, most: int, used: Sequence[Path]) -> bool:
    """Take away the least recently used until ``most`` bytes are left; False where that fails.

    used: by this process, which stay. What killed processes began goes too.
    """
    for begun in folder.glob(f".*{_BEGUN}"):
        if time.time() - begun.stat().st_mtime > _LEFT:
            begun.unlink(missing_ok=True)
    kept = [(file.stat().st_mtime, file.stat().st_size, file) for file in folder.glob(f"*{_KEPT}")]
    total = sum(size for _, size, _ in kept)
    for _, size, file in sorted(kept):
        if total > most and file not in used:
            file.unlink(missing_ok=True)
            total -= size
    return total <= most
