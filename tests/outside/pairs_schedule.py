"""A schedule of another package: thaws some blocks a phase, from the top down."""

from typing import Any, Literal

from tlsweep.schedule.base import growing, new_layers
from tlsweep.schedule.settings import PhasedSettings


class Settings(PhasedSettings):
    name: Literal["pairs"]
    blocks: int


def open(settings: Settings, plan: Any, cuts: Any, empty: Any) -> Any:
    new = new_layers(plan)
    rest, phases = sorted(plan.trained - new, reverse=True), [new]
    for start in range(0, len(rest), settings.blocks):
        phases.append(phases[-1] | set(rest[start : start + settings.blocks]))
    return growing(phases, settings.ending, empty)
