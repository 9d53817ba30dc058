"""Processes of this machine that all do one thing for this one, and end with it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tlsweep.engine.group import context, end_with
from tlsweep.errors import TlsweepError

SHORT = 5.0  # seconds that a helper has at least lived, if what it does is not what ended it
TRIES = 3  # of a helper that ends at once
GRACE = 10.0  # seconds that helpers have to give back what they are at


class Helpers:
    """``n`` processes that call ``work(*arguments)``; one that ends is replaced by ``tend``.

    threads: of each; work: a function that can be imported by name; devices: of each, which has so
    many of the GPUs where there are any.

    Example:
        >>> helpers = Helpers(2, 1, serve, brief, "study")                   # doctest: +SKIP
        >>> with contextlib.closing(helpers):                                # doctest: +SKIP
        ...     ledger.wait(helpers.tend)
    """

    def __init__(
        self, n: int, threads: int, work: Callable[..., Any], *arguments: Any, devices: int = 1
    ) -> None:
        self._work, self._arguments = work, arguments
        self._context = context()
        self._theirs, self._ours = self._context.Pipe(duplex=False)
        self._threads = threads
        self._environments = [_environment(index, devices) for index in range(n)]
        self._began = [0.0] * n
        self._short_lives = [0] * n
        self._processes: list[Any] = [None] * n
        for index in range(n):
            self._begin(index)

    def tend(self) -> None:
        """Replace those that ended. Raises TlsweepError for one that ends as soon as it begins."""
        for index, process in enumerate(self._processes):
            if process.is_alive():
                continue
            short = time.monotonic() - self._began[index] < SHORT
            self._short_lives[index] = self._short_lives[index] + 1 if short else 0
            if self._short_lives[index] >= TRIES:
                raise TlsweepError(
                    f"a worker process ended {TRIES} times as soon as it had begun (exit code"
                    f" {process.exitcode}); sweep.n_jobs=1 runs trials in the sweep's own process"
                )
            self._begin(index)

    def close(self) -> None:
        """End them all. What one is at, it gives back."""
        begun = [p for p in self._processes if p is not None and p.pid is not None]
        for process in begun:
            process.terminate()
        last = time.monotonic() + GRACE
        for process in begun:
            process.join(max(0.0, last - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self._theirs.close()
        self._ours.close()

    def _begin(self, index: int) -> None:
        process = self._context.Process(
            target=_helper,
            args=(
                self._theirs, self._threads, self._environments[index], str(Path.cwd()),
                self._work, self._arguments,
            ),
            name=f"tlsweep-worker{index}",
        )  # fmt: skip
        self._processes[index] = process
        self._began[index] = time.monotonic()
        process.start()


def _environment(index: int, devices: int) -> dict[str, str]:
    """The environment of a helper, which names its GPUs, as many as ``devices``."""
    import torch

    own = dict(os.environ)
    if gpus := torch.cuda.device_count():
        given = own.get("CUDA_VISIBLE_DEVICES")
        names = given.split(",") if given else list(map(str, range(gpus)))
        mine = (names[(index * devices + k) % gpus] for k in range(min(devices, gpus)))
        own["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    return own


def _helper(
    parent: Connection,
    threads: int,
    environment: dict[str, str],
    folder: str,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    end_with(parent)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # those of the server that it was begun from may be of another command
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    import torch

    torch.set_num_threads(threads)
    with contextlib.suppress(KeyboardInterrupt):  # it gave back what it was at
        work(*arguments)
