"""Who runs a sweep's trials: this process, processes of their own, or Hydra's launcher."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tlsweep.engine.helpers import Helpers
from tlsweep.study.crew import Ended
from tlsweep.study.ledger import Ledger
from tlsweep.study.queue import Job
from tlsweep.trial.brief import Brief
from tlsweep.trial.worker import run_job, serve

Act = Callable[[Brief, str, Job], Any]
Ask = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Here:
    """This process runs the trials, one after another. ask: what a trial is told."""

    brief: Brief
    ask: Ask
    act: Act = run_job
    n: int = 1

    def asks(self, overrides: Sequence[str], *, named: bool) -> Mapping[str, Any]:
        """See Crew."""
        return self.ask(overrides, named=named)

    def work(self, ledger: Ledger) -> None:
        """Run the next trial; where others took all that waited, wait for one of theirs."""
        if not (jobs := ledger.take(1)):
            ledger.wait()
            return
        ledger.run(jobs, lambda jobs: [self._ended(ledger.name, job) for job in jobs])

    def _ended(self, study: str, job: Job) -> Ended:
        try:
            return Ended(self.act(self.brief, study, job))
        except Exception as error:
            return Ended(error=error)


@dataclass(frozen=True)
class Elsewhere:
    """Processes of their own run the trials. tend: looks after them."""

    n: int
    ask: Ask
    tend: Callable[[], None]

    def asks(self, overrides: Sequence[str], *, named: bool) -> Mapping[str, Any]:
        """See Crew."""
        return self.ask(overrides, named=named)

    def work(self, ledger: Ledger) -> None:
        """Wait for one of their trials."""
        ledger.wait(self.tend)


class Workers:
    """The worker processes of a sweep, begun when the first trial waits for them.

    study: the name of the sweep's main study, whose notes tell workers what it is at.
    """

    def __init__(self, n: int, brief: Brief, study: str) -> None:
        self.n, self._brief, self._study = n, brief, study
        self._helpers: Helpers | None = None

    def tend(self) -> None:
        """Begin them, or replace those that ended."""
        if self._helpers is None:
            self._helpers = Helpers(self.n, serve, self._brief, self._study)
        self._helpers.tend()

    def close(self) -> None:
        """End those that were begun."""
        if self._helpers is not None:
            self._helpers.close()


def number_of(n_jobs: int | Literal["auto"]) -> int:
    """How many trials are under way at once."""
    if n_jobs != "auto":
        return n_jobs
    return os.cpu_count() or 1
