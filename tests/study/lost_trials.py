"""Trials under way whose process is gone."""

from __future__ import annotations

from typing import Any

from tlsweep.study.crew import Batches
from tlsweep.study.ledger import Ledger
from tlsweep.study.queue import Job
from tlsweep.study.space import Space

# the number is larger than any that Linux gives
GONE: dict[str, Any] = {"pid": 2**22 + 1, "started": 0.0}


class Taken(Exception):  # noqa: N818 - no error
    """A trial was begun. job: it."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.number)
        self.job = job


class Begins(Batches):
    """A crew that begins a trial, and then the whole session is gone."""

    def work(self, ledger: Ledger) -> None:
        """Take one trial, and leave it."""
        (job,) = ledger.take(1)
        raise Taken(job)


def begun(ledger: Ledger, where: Space, **worker: Any) -> Job:
    """A trial that was begun. worker: whose process is another one than this, which lives."""
    try:
        ledger.search(where, Begins(lambda jobs: []), n_trials=10**6, max_failure_rate=1.0)
    except Taken as taken:
        trial = ledger.queue.trial(taken.job.number)
        ledger.queue.note(trial, "worker", {**trial.user_attrs["worker"], **worker})
        return taken.job
    raise AssertionError("no trial was begun")
