"""What a plan answered, example by example. Every score is derived from it, by the task.

One file a trial, written whole or not at all by ``write`` and read by ``read`` alone. It says of
what task it is: logits, labels and numbers look alike, and would be scored as each other.
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
from tlsweep.task.base import Task

Logits = NDArray[np.float32]
_FOLD, _REPORT, _TASK = "fold", "report", "task"
_ANEW = "ask anew under another name: study=NAME"


@dataclass(frozen=True)
class Outcome:
    """Outputs float32 [examples, outputs] of what was scored.

    held_out: for each fold that was held out, in the order of ``Partition.folds``; report: of the
    report split, None where it was not read.
    """

    held_out: Mapping[int, Logits] = field(default_factory=dict)
    report: Logits | None = None


def write(file: Path, outcome: Outcome, task: Task) -> None:
    """Write an outcome of a task, whole or not at all; its folder is made where it is missing."""
    arrays = {f"{_FOLD}{k}": logits for k, logits in outcome.held_out.items()}
    if outcome.report is not None:
        arrays[_REPORT] = outcome.report
    stream = io.BytesIO()
    kept: dict[str, Any] = {k: v.astype(np.float32) for k, v in arrays.items()}
    kept[_TASK] = np.array(_answers_to(task))
    np.savez_compressed(stream, **kept)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, stream.getvalue())


def read(file: Path, task: Task) -> Outcome:
    """What ``write`` wrote. Raises TlsweepError where it is missing, damaged or of another task."""
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
            found = {name: np.asarray(arrays[name]) for name in arrays}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise TlsweepError(
            f"{file}: {error}. It holds what a trial answered; without it the study cannot be"
            f" concluded. Put it back, or {_ANEW}"
        ) from error
    _refuse_other_task(file, found, task)
    folds = {int(n.removeprefix(_FOLD)): z for n, z in found.items() if n.startswith(_FOLD)}
    return Outcome(dict(sorted(folds.items())), found.get(_REPORT))


def _answers_to(task: Task) -> str:
    """The task of outputs, in words: ``10 outputs of classes``."""
    return f"{task.n_outputs} outputs of {task.kind}"


def _refuse_other_task(file: Path, found: Mapping[str, NDArray[Any]], task: Task) -> None:
    """Raise TlsweepError where a file's outputs answer another task, or it does not say which."""
    asked = _answers_to(task)
    has = str(found.get(_TASK, "outputs of no task (an earlier version wrote it)"))
    widths = {z.shape[1:] for name, z in found.items() if name != _TASK}
    if has == asked and widths <= {(task.n_outputs,)}:
        return
    if has == asked:
        has = f"outputs of the shapes {sorted(widths)}"
    raise TlsweepError(f"{file} holds {has}, and {asked} are asked for. Put it back, or {_ANEW}")
