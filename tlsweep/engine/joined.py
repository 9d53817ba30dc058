"""The engine "joined": workers that somebody else starts, wherever the study can be reached."""

from __future__ import annotations

from typing import Literal

from tlsweep.engine.base import Work, Workforce
from tlsweep.section import EngineSettings, Positive


class Settings(EngineSettings):
    """conf/engine/joined.yaml."""

    name: Literal["joined"]
    workers: Positive
    threads: Positive

    @property
    def threads_each(self) -> int:
        """Of a trial."""
        return self.threads


def open(settings: Settings, work: Work, threads: int) -> Workforce:  # noqa: A001
    """Nobody, but whoever joins."""
    return _Others()


class _Others(Workforce):
    def tend(self) -> None:
        """They come and go as they like."""

    def close(self) -> None:
        """They see in the study that the sweep has ended."""
