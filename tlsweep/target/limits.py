"""Options that several targets have, and their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from tlsweep.errors import Fault, unknown_name
from tlsweep.section import Number, Positive, TargetSettings
from tlsweep.target.decode import MAX_PIXELS

OnError = Literal["refuse", "skip"]


class FileSettings(TargetSettings):
    """What every target of image files is told."""

    ram_gb: Annotated[Number, Field(gt=0)]
    on_error: OnError
    max_pixels: Positive


@dataclass(frozen=True)
class Reading:
    """How image files are read.

    on_error: what is done where some cannot be decoded; max_pixels: of an image, at most.
    """

    on_error: OnError = "refuse"
    max_pixels: int = MAX_PIXELS

    def faults(self) -> list[Fault]:
        """What is wrong with it."""
        found = []
        if self.on_error not in (known := ("refuse", "skip")):
            found.append(unknown_name("answer", "target.on_error", self.on_error, known))
        if self.max_pixels < 1:
            value = f"target.max_pixels={self.max_pixels}"
            rule = "pixels that an image may have: 1 or more"
            found.append(Fault(value, rule, f"target.max_pixels={MAX_PIXELS}"))
        return found


def ram_faults(ram_gb: float) -> list[Fault]:
    """The fault of a memory limit that is not positive, if it is not."""
    if ram_gb > 0:
        return []
    rule = "gigabytes of decoded images to keep in memory: more than 0"
    return [Fault(f"target.ram_gb={ram_gb}", rule, "target.ram_gb=4")]
