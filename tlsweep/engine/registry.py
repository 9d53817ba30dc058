"""The one way to open an engine by its name."""

from __future__ import annotations

from tlsweep.engine.base import Work, Workforce
from tlsweep.registry import component
from tlsweep.section import EngineSettings


def open_engine(settings: EngineSettings, work: Work, threads: int) -> Workforce | None:
    """Whoever runs a sweep's trials beside it; None where the sweep does it itself.

    threads: of each trial. Raises Refusal where the engine is not to be had here.
    """
    found: Workforce | None = component("engine", settings.name).open(settings, work, threads)
    return found
