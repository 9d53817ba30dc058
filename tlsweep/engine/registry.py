"""The one way to open an engine by its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tlsweep.engine.base import Work, Workforce
from tlsweep.registry import component
from tlsweep.section import EngineSettings


def open_engine(settings: EngineSettings, work: Work, threads: int) -> Workforce | None:
    """Whoever runs a sweep's trials beside it; None where the sweep does it itself.

    threads: of each trial. Raises Refusal where the engine is not to be had here.
    """
    found: Workforce | None = component("engine", settings.name).open(settings, work, threads)
    return found


def hand_over(settings: EngineSettings, line: Sequence[str], folder: Path) -> str:
    """Let the engine run a whole sweep, elsewhere and later. Returns what to say of that.

    line: of the command, without ``python``; folder: where the sweep's own files are. Raises
    Refusal where it cannot.
    """
    said: str = component("engine", settings.name).hand_over(settings, line, folder)
    return said
