"""Who runs a trial, and whether it lives: told on one machine by its process, else by a count.

A trial that runs raises a counter in its study every few seconds. Who watches it judges by its own
clock whether the counter stands still, so that clocks of machines may differ.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

BEAT = 5.0  # seconds from one count to the next
PATIENCE = 60.0  # seconds that a counter may stand still, where nothing is said


def this_process() -> dict[str, Any]:
    """What identifies this process while it lives, and no other after it."""
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "machine": this_machine(),
        "pid": os.getpid(),
        "started": process.create_time(),
    }


def this_machine() -> str:
    """Where process ids mean what they mean here: this start of this machine, and container."""
    known = [socket.gethostname()]
    for file in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        with suppress(OSError):  # not Linux
            known.append(str(file.readlink()) if file.is_symlink() else file.read_text().strip())
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]


def lives(worker: Mapping[str, Any]) -> bool | None:
    """Whether the process that ``this_process`` described still runs; None where it cannot be seen.

    That is on another machine, or in another container: a name alone does not tell them apart.
    """
    if worker.get("machine") != this_machine():
        return None
    try:
        process = psutil.Process(worker["pid"])
        if process.status() == psutil.STATUS_ZOMBIE:  # dead, and never collected by its parent
            return False
        return bool(abs(process.create_time() - worker["started"]) < 1.0)
    except psutil.NoSuchProcess:
        return False


class Watch:
    """Whether a counter moves. patience: seconds for which it may stand still."""

    def __init__(self, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._seen: Any = None
        self._since = clock()

    def moves(self, count: Any) -> bool:
        """Whether it moved within the patience, as far as was seen. count: what it is now."""
        now = self._clock()
        if count != self._seen:
            self._seen, self._since = count, now
        return now - self._since < self._patience


class Beating:
    """Raises a counter from a thread of its own, until it is stopped or may not any more.

    tell: writes the count; an error that is among ``over`` ends it, another one waits for the next
    time.
    """

    def __init__(
        self,
        tell: Callable[[int], None],
        over: tuple[type[Exception], ...],
        seconds: float = BEAT,
    ) -> None:
        self._tell, self._over, self._seconds = tell, over, seconds
        self._stop = threading.Event()
        threading.Thread(target=self._beat, daemon=True, name="beat").start()

    def stop(self) -> None:
        """No further count."""
        self._stop.set()

    def _beat(self) -> None:
        count = 0
        while not self._stop.wait(self._seconds):
            count += 1
            try:
                self._tell(count)
            except self._over:
                return
            except Exception:  # a database that is away: training does not hang on this
                continue
