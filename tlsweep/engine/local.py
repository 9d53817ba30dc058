"""The engine "local": processes of this machine, each with its share of the cores, or a GPU."""

from __future__ import annotations

import os
from typing import Literal

import psutil

from tlsweep.engine.base import Work, Workforce
from tlsweep.engine.helpers import Helpers
from tlsweep.section import EngineSettings, Positive, Workers

WORKER_BYTES = 2 * 2**30  # torch takes about 1 GB of it
MOST = 8  # a search that draws so many plans at once finds what it finds drawing one after another


class Settings(EngineSettings):
    """conf/engine/local.yaml."""

    name: Literal["local"]
    workers: Workers
    devices: Positive

    @property
    def abreast(self) -> int:
        """How many trials are under way at once.

        auto is one a GPU, else one a core as far as memory goes, for as many devices as each takes.
        """
        if self.workers != "auto":
            return self.workers
        there = _gpus() or min(_cores(), _fit_memory())
        return max(1, min(there // self.devices, MOST))

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


def _fit_memory() -> int:
    """How many workers there is memory for: all of the machine's, so that it is the same each time.

    What is free at the moment would change which plans are drawn from one session to the next.
    """
    return max(1, psutil.virtual_memory().total // WORKER_BYTES)


def _gpus() -> int:
    import torch  # here: other engines, and refusals, do without it

    return torch.accelerator.device_count()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
