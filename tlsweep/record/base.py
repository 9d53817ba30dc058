"""What a record is told, and the record that keeps nothing."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tlsweep.errors import Fault, Refusal
from tlsweep.record.logged_model import ToLog

Status = Literal["finished", "pruned", "failed", "killed"]
Params = Mapping[str, str | int | float | bool]
Seen = Callable[[int], None]
PATIENCE = 5.0  # seconds


@dataclass(frozen=True)
class Recorded:
    """A trial's run as it was recorded.

    config: the trial's whole config, as YAML; metrics: by (name, step), steps being epochs and 0
    for what is known at the end.
    """

    name: str
    config: str
    tags: Mapping[str, str]
    metrics: Mapping[tuple[str, int], float]


class TrialRun(abc.ABC):
    """The record of one trial that is under way."""

    run_id: str | None = None

    @abc.abstractmethod
    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Metrics of one epoch (1 is the first)."""

    @abc.abstractmethod
    def end(
        self,
        status: Status,
        summary: Mapping[str, float],
        *,
        reason: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Final metrics, how the trial ended, and tags known only now. The last call."""


class TrialRecord(abc.ABC):
    """Where trials are recorded."""

    @abc.abstractmethod
    def start_trial(
        self, parent: str | None, name: str, params: Params, tags: Mapping[str, str]
    ) -> TrialRun:
        """Open the run of a trial, below ``parent`` where there is one."""

    @abc.abstractmethod
    def close(self, patience: float = PATIENCE, seen: Seen = lambda left: None) -> int:
        """The last call: whoever is to be told is told what was not told yet.

        patience: seconds without an answer after which that waits for another process; seen: told
        how much is left, now and then. Returns how much waits.
        """


class Record(TrialRecord):
    """Where runs are recorded: one parent a sweep, one child a trial."""

    @abc.abstractmethod
    def start_sweep(self, study: str, params: Params, known: str | None = None) -> str | None:
        """Open the parent run of a study, or take up the ``known`` one. Returns its id."""

    @abc.abstractmethod
    def end_sweep(self, run_id: str | None, status: Status, metrics: Mapping[str, float]) -> None:
        """Close the parent run."""

    @abc.abstractmethod
    def tell_verdict(
        self,
        run_id: str | None,
        words: str,
        tags: Mapping[str, str],
        curves: Mapping[str, Mapping[int, float]],
    ) -> None:
        """Tell a sweep's answer to its parent run.

        words: the run's description; curves: by name a score for each index of a cut point.
        """

    @abc.abstractmethod
    def keep_files(self, run_id: str | None, files: list[Path]) -> None:
        """Keep files of the results with a run."""

    @abc.abstractmethod
    def keep_model(self, run_id: str | None, model: ToLog) -> None:
        """Keep the model to take home with a run, in place of one that was kept before."""

    @abc.abstractmethod
    def end_lost(self, run_id: str) -> None:
        """Close the run of a trial whose process is gone."""

    @abc.abstractmethod
    def recorded(self, run_id: str) -> Recorded:
        """A trial's run. Raises Refusal if there is none of that id."""

    @abc.abstractmethod
    def where_to_look(self) -> str:
        """The command or the address that shows the record, or an empty text."""

    @abc.abstractmethod
    def link(self, run_id: str) -> str:
        """The address of a run's page, or an empty text where nothing serves it."""


class _NoTrialRun(TrialRun):
    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        pass

    def end(
        self,
        status: Status,
        summary: Mapping[str, float],
        *,
        reason: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        pass


class NoRecord(Record):
    """Keeps nothing."""

    def start_sweep(self, study: str, params: Params, known: str | None = None) -> str | None:
        """Nothing to open."""
        return None

    def end_sweep(self, run_id: str | None, status: Status, metrics: Mapping[str, float]) -> None:
        """Nothing to close."""

    def tell_verdict(
        self,
        run_id: str | None,
        words: str,
        tags: Mapping[str, str],
        curves: Mapping[str, Mapping[int, float]],
    ) -> None:
        """Nobody to tell."""

    def keep_files(self, run_id: str | None, files: list[Path]) -> None:
        """Nothing to keep."""

    def keep_model(self, run_id: str | None, model: ToLog) -> None:
        """Nothing to keep."""

    def start_trial(
        self, parent: str | None, name: str, params: Params, tags: Mapping[str, str]
    ) -> TrialRun:
        """A run that keeps nothing."""
        return _NoTrialRun()

    def end_lost(self, run_id: str) -> None:
        """Nothing to close."""

    def recorded(self, run_id: str) -> Recorded:
        """Raises Refusal: nothing was kept."""
        rule = "runs are found where they are recorded"
        raise Refusal(Fault(f"run={run_id} with record=none", rule, "leave record=none out"))

    def close(self, patience: float = PATIENCE, seen: Seen = lambda left: None) -> int:
        """Nothing waits."""
        return 0

    def where_to_look(self) -> str:
        """Nowhere."""
        return ""

    def link(self, run_id: str) -> str:
        """Nowhere."""
        return ""
