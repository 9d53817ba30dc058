"""The folder where a study's trials keep what they answered: one, which all sessions share."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tlsweep.errors import Fault, Refusal
from tlsweep.study.ledger import Ledger

FOLDER = "folder"  # the main study's note: the folder's path, and what is written in its mark
_MARK = ".study"


def share(main: Ledger, folder: Path, *, answered: bool) -> None:
    """Make a folder the study's own, or see that it is.

    answered: whether trials of the study have ended. A folder that was moved or copied is known by
    its mark. Raises Refusal where they keep what they answered in another folder.
    """
    known: Mapping[str, Any] = main.recall(FOLDER) or {}
    if known and _token(folder) == known["token"]:
        return
    if known and answered:
        raise Refusal(_elsewhere(main.name, folder, str(known["path"])))
    token = secrets.token_hex(8)
    (folder / _MARK).write_text(token)
    main.remember(FOLDER, {"path": str(folder), "token": token})


def _elsewhere(name: str, folder: Path, path: str) -> Fault:
    return Fault(
        f"study={name} in {folder}",
        f"sessions of a study share one folder: its trials keep what they answered in {path}",
        f"output_dir={Path(path).parent}, or the folder that it was moved to; or study={name}_2",
    )


def refuse_unseen(notes: Mapping[str, Any], folder: Path, name: str) -> None:
    """Raise Refusal where a worker does not see the study's folder: its answers would be lost."""
    known = notes.get(FOLDER) or {}
    if known and _token(folder) == known["token"]:
        return
    raise Refusal(
        Fault(
            f"study={name}: {folder} is not here",
            "a worker writes what its trials answer into the folder of the sweep, which all see",
            "mount it here under that name, or output_dir=DIR where it lies here",
        )
    )


def _token(folder: Path) -> str | None:
    with suppress(OSError):
        return (folder / _MARK).read_text()
    return None
