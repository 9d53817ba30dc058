"""A record in memory: all that a sweep tells it, for tests that ask what was told."""

from __future__ import annotations

from typing import Any

from tlsweep.record import NoRecord, Recorded, TrialRun


class Note(TrialRun):
    """A trial's run."""

    def __init__(self, run_id: str, name: str, tags: Any) -> None:
        self.run_id, self.name, self.tags = run_id, name, dict(tags)
        self.metrics: dict[tuple[str, int], float] = {}

    def log_epoch(self, epoch: int, metrics: Any) -> None:
        self.metrics |= {(name, epoch): value for name, value in metrics.items()}

    def end(self, status: Any, summary: Any, *, reason: str = "", tags: Any = None) -> None:
        self.metrics |= {(name, 0): value for name, value in summary.items()}
        self.tags |= tags or {}


class Notes(NoRecord):
    """A whole record. ended: how each sweep ended last, in order; lost: trials without an end."""

    def __init__(self) -> None:
        self.sweeps: dict[str, Any] = {}
        self.trials: dict[str, Note] = {}
        self.ended: list[tuple[str | None, str]] = []
        self.lost: list[str] = []

    def start_sweep(self, study: str, params: Any, known: str | None = None) -> str | None:
        run_id = known if known in self.sweeps else f"{study} {len(self.sweeps)}"
        self.sweeps[run_id] = dict(params)
        return run_id

    def end_sweep(self, run_id: str | None, status: Any, metrics: Any) -> None:
        self.ended.append((run_id, status))

    def start_trial(self, parent: str | None, name: str, params: Any, tags: Any) -> Note:
        run = Note(f"trial {len(self.trials)}", name, tags)
        self.trials[str(run.run_id)] = run
        return run

    def end_lost(self, run_id: str) -> None:
        self.lost.append(run_id)

    def recorded(self, run_id: str) -> Recorded:
        if run_id not in self.trials:
            return super().recorded(run_id)
        run = self.trials[run_id]
        return Recorded(run.name, run.tags["tlsweep.config"], run.tags, run.metrics)

    def where_to_look(self) -> str:
        return "cat notes"
