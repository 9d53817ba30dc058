"""What a plan answered, example by example. Every score is derived from it, by the task.

One file a trial, written whole or not at all by ``write`` and read by ``read`` alone.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import TlsweepError
from tlsweep.files import write_whole

Logits = NDArray[np.float32]
_FOLD, _REPORT = "fold", "report"


@dataclass(frozen=True)
class Outcome:
    """Logits float32 [examples, classes] of what was scored.

    held_out: for each fold that was held out, in the order of ``Partition.folds``; report: of the
    report split, None where it was not read.
    """

    held_out: Mapping[int, Logits] = field(default_factory=dict)
    report: Logits | None = None


def write(file: Path, outcome: Outcome) -> None:
    """Write an outcome, whole or not at all; its folder is made where it is missing."""
    arrays = {f"{_FOLD}{k}": logits for k, logits in outcome.held_out.items()}
    if outcome.report is not None:
        arrays[_REPORT] = outcome.report
    stream = io.BytesIO()
    numbers: dict[str, Any] = {k: v.astype(np.float32) for k, v in arrays.items()}
    np.savez_compressed(stream, **numbers)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, stream.getvalue())


def read(file: Path) -> Outcome:
    """What ``write`` wrote. Raises TlsweepError where it is missing or damaged."""
    try:
        with np.load(io.BytesIO(file.read_bytes())) as arrays:
            found = {name: arrays[name] for name in arrays}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise TlsweepError(
            f"{file}: {error}. It holds what a trial answered; without it the study cannot be"
            " concluded. Put it back, or ask anew under another name: study=NAME"
        ) from error
    folds = {int(n.removeprefix(_FOLD)): z for n, z in found.items() if n.startswith(_FOLD)}
    return Outcome(dict(sorted(folds.items())), found.get(_REPORT))
