"""The folder of entries: what is there, what is used least, and how it is taken away."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tlsweep.features.entry import DATA, META, Damaged, Meta, read_meta
from tlsweep.features.hold import in_use
from tlsweep.features.writer import WRITING

_DROPPED = ".dropped-"
_DAY = 86_400.0


@dataclass(frozen=True)
class Kept:
    """An entry in the folder, read no further than its size.

    nbytes: of its data; used: when it was last used, in seconds since 1970.
    """

    folder: Path
    nbytes: int
    used: float

    @property
    def digest(self) -> str:
        """The digest of its key, which is its name."""
        return self.folder.name

    @property
    def meta(self) -> Meta | None:
        """What it holds; None where that cannot be read."""
        try:
            return read_meta(self.folder)
        except (Damaged, OSError):
            return None

    @property
    def in_use(self) -> bool:
        """Whether a process reads it."""
        # without locks, unlinking is still safe for readers on a POSIX disk (hold.py)
        return in_use(self.folder / DATA, unknown=False)


def kept(store: Path) -> list[Kept]:
    """All entries, the least recently used first; whether they are whole is not looked at."""
    found = []
    for folder in _subfolders(store):
        if not folder.name.startswith("."):
            used = _stat(folder / META, "st_mtime") or _stat(folder, "st_mtime")
            found.append(Kept(folder, int(_stat(folder / DATA, "st_size")), used))
    return sorted(found, key=lambda entry: (entry.used, entry.digest))


def promised(store: Path) -> tuple[int, int]:
    """What writers that are at work will hold, in bytes, and how much of it is not on disk yet."""
    files = [f / DATA for f in _subfolders(store) if f.name.startswith(WRITING)]
    whole = [int(_stat(file, "st_size")) for file in files]
    on_disk = [int(_stat(file, "st_blocks")) * 512 for file in files]
    missing = sum(max(0, size - there) for size, there in zip(whole, on_disk, strict=True))
    return sum(whole), missing


def take_away(folder: Path) -> None:
    """Remove an entry so that no reader ever sees a part of it. Raises OSError."""
    gone = folder.with_name(f"{_DROPPED}{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):  # another process was faster
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def sweep_leftovers(store: Path) -> None:
    """Remove what killed writers left behind. Only under the lock that new writers begin under."""
    for folder in _subfolders(store):
        if folder.name.startswith((WRITING, _DROPPED)):
            # without locks nothing tells a dead writer from a slow one but time
            young = time.time() - _stat(folder / DATA, "st_mtime") < _DAY
            if not in_use(folder / DATA, unknown=young):
                shutil.rmtree(folder, ignore_errors=True)


def mark_used(folder: Path) -> None:
    """Now is when the entry was last used; a folder that cannot be written to keeps its order."""
    with suppress(OSError):
        os.utime(folder / META)


def _subfolders(store: Path) -> Iterator[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        yield from [path for path in store.iterdir() if path.is_dir()]


def _stat(path: Path, field: str) -> float:
    try:
        value: float = getattr(path.stat(), field)
    except OSError:  # taken away by another process at this moment
        return 0
    return value
