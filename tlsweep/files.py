"""The folder that made things are kept in, and writes that are whole or not there at all."""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path

from tlsweep.errors import Fault, Refusal


def cache_folder(given: str | Path | None = None) -> Path:
    """Return ``given``, or $TLSWEEP_CACHE, $XDG_CACHE_HOME/tlsweep, ~/.cache/tlsweep, unmade."""
    if given is not None:
        return Path(given).expanduser()
    if own := os.environ.get("TLSWEEP_CACHE"):
        return Path(own).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser() / "tlsweep"
    return Path.home() / ".cache" / "tlsweep"


def make_folder(folder: Path) -> Path:
    """``folder``, made if it was not there. Raises Refusal where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Refusal(
            Fault(
                f"cache folder {folder} ({error.strerror})",
                "tlsweep keeps what it makes in a folder that it can write to",
                "TLSWEEP_CACHE=FOLDER in the environment, a folder of your own",
            )
        ) from error
    return folder


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` so that a reader sees the old file or the new one, never a part of it."""
    # not by tempfile, whose files nobody else may read: a study's folder may be a group's
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
