"""What a sweep asks of whatever runs its trials beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Work:
    """What a worker of a sweep does.

    study: what it works for; call, arguments: in a process that this one begins; command: in one
    that something else begins, without ``python``; folder: where the sweep's own files are;
    devices: of a trial; secret: variables of the environment that the command needs, which no file
    may hold.
    """

    study: str
    call: Callable[..., Any]
    arguments: Sequence[Any]
    command: Sequence[str]
    folder: Path
    devices: int
    secret: dict[str, str]


class Workforce(ABC):
    """The workers of one sweep, from the first trial that waits for one until it is closed."""

    @abstractmethod
    def tend(self) -> None:
        """Begin them, or see that they are still there. Called often; returns at once.

        Raises TlsweepError where there are none and none can be had.
        """

    @abstractmethod
    def close(self) -> None:
        """The sweep has ended, or is given up: nobody is to go on working for it."""
