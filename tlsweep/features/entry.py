"""One entry on disk: a folder with data.bin, the rows, and meta.json, which says what they are."""

from __future__ import annotations

import json
import math
import mmap
import os
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlsweep.features.hold import hold
from tlsweep.features.key import Key, canonical, dtype_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DATA, META = "data.bin", "meta.json"
FORMAT = 1  # raise it when the layout changes: entries of another format are dropped
BLOCK = 4 * 2**20  # bytes that share a checksum
# bytes an element; here, so that entries can be listed without waiting for torch
DTYPES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "uint8": 1}

# Mappings are private, so that a write to a tensor reaches no file. Without this flag Linux counts
# them as memory to come, and refuses an entry that is larger than the memory of the machine.
# Python 3.11 does not name it yet.
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


class Damaged(ValueError):  # noqa: N818 - what is said of the entry
    """An entry is not what was written. The message is the reason."""


@dataclass(frozen=True)
class Spec:
    """What a new entry is to hold.

    shape: rows first; about: what people call it in lists (source, target, split), no part of the
    key. Raises ValueError where dtype is not the key's, or none that is stored.
    """

    key: Key
    shape: tuple[int, ...]
    dtype: torch.dtype
    about: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.key.fields["dtype"] != dtype_name(self.dtype):
            raise ValueError(f"{self.dtype}, but the key says {self.key.fields['dtype']}")
        if dtype_name(self.dtype) not in DTYPES:
            raise ValueError(f"{self.dtype} is not stored, but {', '.join(DTYPES)} are")
        if not self.shape or min(self.shape) < 0:
            raise ValueError(f"a shape has a number of rows, and no size below 0: {self.shape}")

    @property
    def row_bytes(self) -> int:
        """Size of one row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Size of the data."""
        return self.shape[0] * self.row_bytes


@dataclass(frozen=True)
class Meta:
    """meta.json, read and checked. checksums: zlib.crc32 of each block of data.bin."""

    key: Key
    about: Mapping[str, str]
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    checksums: tuple[int, ...]
    made: str

    def to_json(self) -> bytes:
        """The file's content; ``checksum`` is that of everything else in it."""
        content = {
            "format": FORMAT,
            "tlsweep": metadata.version("tlsweep"),
            "made": self.made,
            "key": self.key.fields,
            "about": dict(self.about),
            "shape": self.shape,
            "dtype": self.dtype,
            "bytes": self.nbytes,
            "block": BLOCK,
            "checksums": self.checksums,
        }
        return json.dumps({**content, "checksum": checksum_of(content)}, indent=1).encode()


def read_meta(folder: Path) -> Meta:
    """The meta.json of an entry.

    Raises FileNotFoundError where there is no such entry, Damaged for a broken one.
    """
    try:
        raw = (folder / META).read_bytes()
    except FileNotFoundError:
        if folder.is_dir():
            raise Damaged(f"{META} is not there") from None
        raise
    try:
        content = json.loads(raw)
        if content.pop("checksum") != checksum_of(content):
            raise Damaged(f"{META} is not what was written")
        return _parse(content, folder.name)
    except Damaged:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{META} cannot be read") from error


def _parse(content: dict[str, Any], digest: str) -> Meta:
    if content["format"] != FORMAT:
        raise Damaged(f"format {content['format']}, not {FORMAT}")
    key = Key.from_fields(content["key"])
    if key.digest != digest:
        raise Damaged("it was written for another key")
    meta = Meta(
        key=key,
        about=content["about"],
        shape=tuple(content["shape"]),
        dtype=content["dtype"],
        nbytes=content["bytes"],
        checksums=tuple(content["checksums"]),
        made=content["made"],
    )
    blocks = -(-meta.nbytes // BLOCK)
    wanted = math.prod(meta.shape) * DTYPES[meta.dtype]
    if (wanted, blocks, BLOCK) != (meta.nbytes, len(meta.checksums), content["block"]):
        raise Damaged(f"shape {meta.shape} does not take {meta.nbytes} bytes")
    return meta


def checksum_of(content: Mapping[str, Any]) -> int:
    """The checksum of a record: of its other fields, in whatever order they are written."""
    return zlib.crc32(canonical(content).encode())


class Stored:
    """A read-only view of one entry's rows; while it, or a tensor of it, lives, none evicts it."""

    def __init__(self, meta: Meta, mapping: mmap.mmap | None) -> None:
        self.key = meta.key
        self.shape = meta.shape
        self.nbytes = meta.nbytes
        self._dtype = meta.dtype
        self._mapping = mapping

    def tensor(self) -> Tensor:
        """The rows: [rows, ...], mapped from the file, read from disk as they are used.

        No copy is made. What is written into it stays in this process's memory; the entry, and
        other readers of it, keep their numbers.
        """
        import torch

        dtype = getattr(torch, self._dtype)
        if self._mapping is None:
            return torch.empty(self.shape, dtype=dtype)
        # from the mapping itself, not through numpy, which has no bfloat16
        flat = torch.frombuffer(self._mapping, dtype=dtype, count=math.prod(self.shape))
        return flat.view(self.shape)


def open_entry(folder: Path) -> Stored:
    """The entry in ``folder``, checked if this process has not done so before.

    Raises FileNotFoundError where there is none, Damaged for a broken one.
    """
    meta = read_meta(folder)
    with _opened(folder) as file:
        _check(file, meta)
        return Stored(meta, map_file(file.fileno(), meta.nbytes))


def check_entry(folder: Path) -> Meta:
    """Compare all of an entry with its checksums, as if for the first time. Raises as above."""
    meta = read_meta(folder)
    with _opened(folder) as file:
        _compare(file, meta)
    return meta


def _opened(folder: Path) -> BufferedReader:
    try:
        file = (folder / DATA).open("rb")
    except FileNotFoundError:
        if folder.is_dir():
            raise Damaged(f"{DATA} is not there") from None
        raise
    hold(file.fileno())
    return file


_checked: set[tuple[int, ...]] = set()  # files whose content this process has compared


def _check(file: BufferedReader, meta: Meta) -> None:
    found = os.fstat(file.fileno())
    # the time of the last change cannot be set back: a file that was written to is checked again
    identity = (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)
    if identity not in _checked:
        _compare(file, meta)
        _checked.add(identity)


def _compare(file: BufferedReader, meta: Meta) -> None:
    size = os.fstat(file.fileno()).st_size
    if size != meta.nbytes:
        raise Damaged(f"{DATA} has {size:,} bytes, not {meta.nbytes:,}")
    # read, not mapped: the memory that this takes does not grow with the entry. About 2 GB/s.
    block = memoryview(bytearray(BLOCK))
    for number, checksum in enumerate(meta.checksums):
        n_read = file.readinto(block)
        if zlib.crc32(block[:n_read]) != checksum:
            raise Damaged(f"block {number} of {DATA} is not what was written")


def map_file(descriptor: int, nbytes: int) -> mmap.mmap | None:
    """An open file as memory that may be written to, with no effect on the file; None if empty."""
    if nbytes == 0:
        return None  # there is nothing to map, and mmap refuses it
    flags, rights = mmap.MAP_PRIVATE | _NO_RESERVE, mmap.PROT_READ | mmap.PROT_WRITE
    return mmap.mmap(descriptor, nbytes, flags=flags, prot=rights)
