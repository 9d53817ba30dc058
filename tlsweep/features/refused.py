"""Activations that cannot be kept: an event that the caller survives by computing them anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlsweep.errors import Fault, TlsweepError
from tlsweep.files.unwritten import FULL


class NotStored(TlsweepError):  # noqa: N818 - a word of the project
    """Nothing was stored, and nothing half. Said to the user already; compute without the store."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


@contextmanager
def as_not_stored(folder: Path) -> Iterator[None]:
    """An OSError of the block as NotStored, with what to do about that folder."""
    try:
        yield
    except OSError as error:
        raise NotStored(_fault(folder, error)) from error


def _fault(folder: Path, error: OSError) -> Fault:
    elsewhere = "features.cache_dir=FOLDER"
    return Fault(
        f"activations are not stored in {folder} ({error.strerror or error}), but computed anew",
        "activations are kept in a folder that tlsweep can write to, with room for them",
        f"free some space on that disk, or {elsewhere} on another one"
        if error.errno in FULL
        else f"{elsewhere}, a folder of your own",
    )


def size_text(n_bytes: float) -> str:
    """Bytes in the unit of ``features.budget_gb``: ``1.5 GB``, ``340.0 MB``, ``12.0 kB``."""
    for unit, size in (("GB", 2**30), ("MB", 2**20)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes / 2**10:.1f} kB"
