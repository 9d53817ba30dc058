"""Who runs a study's trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tlsweep.study.queue import Job

if TYPE_CHECKING:
    from tlsweep.study.ledger import Ledger


@dataclass(frozen=True)
class Ended:
    """How a launched job ended: its return value, or the error that it raised."""

    value: Any = None
    error: BaseException | None = None


Launch = Callable[[Sequence[Job]], Sequence[Ended]]


class Crew(Protocol):
    """Who runs a study's trials, and what they have to be told of each."""

    @property
    def n(self) -> int:
        """How many trials are under way at once."""

    def asks(self, overrides: Sequence[str], *, named: bool) -> Mapping[str, Any]:
        """What whoever runs such a trial is told, as JSON values. named: wanted by name."""

    def work(self, ledger: Ledger) -> None:
        """Let trials of the ledger's study be run until one at least has ended."""


@dataclass(frozen=True)
class Batches:
    """Trials that are launched ``n`` at a time: each batch waits for the slowest of its trials."""

    launch: Launch
    n: int = 1

    def asks(self, overrides: Sequence[str], *, named: bool) -> Mapping[str, Any]:
        """Nothing: a job is launched with its overrides."""
        return {}

    def work(self, ledger: Ledger) -> None:
        """Launch a batch; where others took all that waited, wait for one of theirs."""
        jobs = ledger.take(self.n)
        if jobs:
            ledger.run(jobs, self.launch)
        else:
            ledger.wait()
