"""Trials of a sweep as they are recorded: written down, for the sweep's process to tell."""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tlsweep.record.base import PATIENCE, Params, Seen, Status, TrialRecord, TrialRun
from tlsweep.record.spool import FOLDER, Writer

_ENDED: dict[Status, str] = {
    "finished": "FINISHED",
    "pruned": "FINISHED",  # MLflow has no such state; the tag tlsweep.status says it
    "failed": "FAILED",
    "killed": "KILLED",
}


class Spooled(TrialRecord):
    """Writes entries into a spool of ``output_dir``; a run's id says which: PLACE-RANDOM.

    A disk that is full is said once, and breaks no training.
    """

    def __init__(self, output_dir: Path, place: str) -> None:
        self.output_dir, self.place = output_dir, place
        self.folder = output_dir / FOLDER / place
        self._writer: Writer | None = None
        self._said = False

    @property
    def writer_name(self) -> str | None:
        """The name of the file that is written; None before the first entry."""
        return None if self._writer is None else self._writer.name

    def add(self, do: str, run: str, **rest: Any) -> None:
        """Write an entry down."""
        try:
            self._writer = self._writer or Writer(self.folder)
            self._writer.add({"do": do, "run": run, **rest})
        except OSError as error:
            if not self._said:
                text = f"nothing can be recorded at present ({error.strerror or error}:"
                text += f" {self.folder}); training goes on, and the study keeps its results"
                warnings.warn(text, RuntimeWarning, stacklevel=3)
            self._said = True

    def begin(self, parent: str | None, name: str, params: Params, tags: Mapping[str, str]) -> str:
        """A run from now on. Returns its id."""
        run = f"{self.place}-{secrets.token_hex(8)}"
        self.add("begin", run, parent=parent, name=name, tags=dict(tags), at=now())
        texts = {key: str(value) for key, value in params.items()}
        self.add("log", run, metrics=[], params=texts, tags={})
        return run

    def start_trial(
        self, parent: str | None, name: str, params: Params, tags: Mapping[str, str]
    ) -> SpooledRun:
        """A run of its own, below ``parent``'s where there is one."""
        tags = {**tags, "tlsweep.role": "trial"}
        return SpooledRun(self, self.begin(parent, name, params, tags), name)

    def close(self, patience: float = PATIENCE, seen: Seen = lambda left: None) -> int:
        """Nothing more will be written."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        return 0


class SpooledRun(TrialRun):
    """One trial's run."""

    def __init__(self, spooled: Spooled, run_id: str, name: str = "") -> None:
        self.spooled, self.name = spooled, name
        self.run_id: str = run_id

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Metrics of one epoch, 1 being the first."""
        self._log(epoch, metrics, {})

    def end(
        self,
        status: Status,
        summary: Mapping[str, float],
        *,
        reason: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write down what is left, and that the run has ended."""
        ending = {"tlsweep.status": status, **(tags or {})}
        if reason:
            ending["tlsweep.reason"] = reason[:4000]
        self._log(0, summary, ending)
        # the list of runs shows names, and no such status
        name = f"{self.name} (stopped early)" if status == "pruned" and self.name else None
        self.spooled.add("end", self.run_id, status=_ENDED[status], name=name, at=now())

    def _log(self, step: int, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        numbers = [(name, value, now(), step) for name, value in metrics.items()]
        self.spooled.add("log", self.run_id, metrics=numbers, params={}, tags=dict(tags))


def now() -> int:
    """Milliseconds, as MLflow counts them."""
    return int(time.time() * 1000)
