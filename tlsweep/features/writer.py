"""Rows streamed into a new entry, which is put in its place whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
import zlib
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from tlsweep.features.entry import BLOCK, DATA, META, Meta, Spec
from tlsweep.features.hold import hold
from tlsweep.features.key import dtype_name
from tlsweep.features.refused import as_not_stored

if TYPE_CHECKING:
    from torch import Tensor

WRITING = ".writing-"  # begins the name of a folder that is not an entry yet


class Writer:
    """Takes the rows of one entry, in order; memory grows with a batch, not with the entry.

    Raises OSError where the folder cannot be made.
    """

    def __init__(self, spec: Spec, store: Path) -> None:
        self.spec = spec
        self.rows = 0
        self._store = store
        self._folder = store / f"{WRITING}{spec.key.digest[:16]}-{uuid.uuid4().hex[:16]}"
        self._checksums: list[int] = []
        self._filled = BLOCK  # bytes of the newest block: full, so that the first byte begins one
        self._folder.mkdir()
        try:
            self._file = self._promise(spec.nbytes)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _promise(self, nbytes: int) -> FileIO:
        file = (self._folder / DATA).open("x+b", buffering=0)
        try:
            hold(file.fileno())
            # its whole size at once, as a hole: other writers see what is promised
            os.ftruncate(file.fileno(), nbytes)
        except BaseException:
            file.close()
            raise
        return file

    @property
    def complete(self) -> bool:
        """Whether every promised row is there."""
        return self.rows == self.spec.shape[0]

    def append(self, z: Tensor) -> None:
        """Write the next rows: [batch, ...] of the spec's shape and dtype, on any device.

        Raises ValueError for another shape or dtype, or more rows than promised; NotStored where
        the disk is full or fails.
        """
        spec = self.spec
        if z.dtype != spec.dtype or tuple(z.shape[1:]) != spec.shape[1:] or not z.ndim:
            raise ValueError(
                f"rows of {tuple(z.shape[1:])} {z.dtype}, not {spec.shape[1:]} {spec.dtype}"
            )
        if self.rows + len(z) > spec.shape[0]:
            raise ValueError(f"row {self.rows + len(z)} of an entry with {spec.shape[0]} rows")
        with as_not_stored(self._store):
            self._write(_bytes_of(z))
        self.rows += len(z)

    def _write(self, data: memoryview) -> None:
        while data:
            if self._filled == BLOCK:
                self._checksums.append(0)
                self._filled = 0
            part = data[: BLOCK - self._filled]
            part = part[: self._file.write(part)]  # a disk may take less than it is given
            if not part:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            self._checksums[-1] = zlib.crc32(part, self._checksums[-1])
            self._filled += len(part)
            data = data[len(part) :]

    def finish(self) -> None:
        """Put the complete entry in its place. Raises OSError, and the place stays as it was."""
        meta = Meta(
            key=self.spec.key,
            about=self.spec.about,
            shape=self.spec.shape,
            dtype=dtype_name(self.spec.dtype),
            nbytes=self.spec.nbytes,
            checksums=tuple(self._checksums),
            made=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        )
        # Not synced to the disk, which takes longer than many an entry takes to compute: what a
        # loss of power spoils, the checksums find, and a killed process spoils nothing.
        with (self._folder / META).open("xb") as file:
            file.write(meta.to_json())
        self._file.close()
        place = self._store / self.spec.key.digest
        try:
            self._folder.rename(place)
        except OSError as error:
            # on a file system without locks another process may have been as fast: its entry is
            # as good as this one
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise

    def discard(self) -> None:
        """Remove what is not in its place; nothing happens after ``finish``."""
        with suppress(OSError):  # over NFS closing may tell of a full disk
            self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _bytes_of(z: Tensor) -> memoryview:
    import torch

    # the reinterpretation as bytes serves every dtype, bfloat16 too, which numpy does not have
    flat = z.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
