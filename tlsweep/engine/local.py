"""The engine "local": processes of this machine, each with its share of the cores, or a GPU."""

from __future__ import annotations

import os
from typing import Literal

from tlsweep.engine.base import Work, Workforce
from tlsweep.engine.helpers import Helpers
from tlsweep.section import EngineSettings, Workers


class Settings(EngineSettings):
    """conf/engine/local.yaml."""

    name: Literal["local"]
    workers: Workers

    @property
    def abreast(self) -> int:
        """How many trials are under way at once."""
        return _cores() if self.workers == "auto" else self.workers

    @property
    def threads_each(self) -> int | None:
        """Of a trial; one alone has what torch takes."""
        return None if self.abreast == 1 else max(1, _cores() // self.abreast)


def open(settings: Settings, work: Work, threads: int) -> Workforce | None:  # noqa: A001
    """The workers; None where the sweep's own process runs its trials."""
    return None if settings.abreast == 1 else _Processes(settings.abreast, work, threads)


class _Processes(Workforce):
    def __init__(self, n: int, work: Work, threads: int) -> None:
        self._n, self._work, self._threads = n, work, threads
        self._helpers: Helpers | None = None

    def tend(self) -> None:
        if self._helpers is None:
            work = self._work
            self._helpers = Helpers(
                self._n, self._threads, work.call, *work.arguments, devices=work.devices
            )
        self._helpers.tend()

    def close(self) -> None:
        if self._helpers is not None:
            self._helpers.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
