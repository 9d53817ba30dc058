"""Who runs a sweep's trials: this process, processes of their own, or Hydra's launcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlsweep.study.crew import Ended
from tlsweep.study.ledger import Ledger
from tlsweep.study.queue import Job
from tlsweep.trial.brief import Brief

Act = Callable[[Brief, str, Job], Any]
Ask = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Here:
    """This process runs the trials, one after another. ask: what a trial is told."""

    brief: Brief
    ask: Ask
    act: Act
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
