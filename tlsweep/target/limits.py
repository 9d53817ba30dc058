"""Options that several targets have, and their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Field

from tlsweep.errors import Fault, unknown_name
from tlsweep.section import Number, Positive, TargetSettings
from tlsweep.target.decode import MAX_PIXELS

OnError = Literal["refuse", "skip"]
DISK_GB = 10.0  # of decoded images that do not fit into memory
Twins = Literal["near", "exact"]


class FileSettings(TargetSettings):
    """What every target of image files is told."""

    ram_gb: Annotated[Number, Field(gt=0)]
    disk_gb: Annotated[Number, Field(ge=0)]
    on_error: OnError
    max_pixels: Positive
    twins: Twins


@dataclass(frozen=True)
class Reading:
    """How image files are read.

    on_error: what is done where some cannot be decoded; max_pixels: of an image, at most; twins:
    which of them count as one.
    """

    on_error: OnError = "refuse"
    max_pixels: int = MAX_PIXELS
    twins: Twins = "near"

    def faults(self) -> list[Fault]:
        """What is wrong with it."""
        found = twins_faults(self.twins)
        if self.on_error not in (known := get_args(OnError)):
            found.append(unknown_name("answer", "target.on_error", self.on_error, known))
        if self.max_pixels < 1:
            value = f"target.max_pixels={self.max_pixels}"
            rule = "pixels that an image may have: 1 or more"
            found.append(Fault(value, rule, f"target.max_pixels={MAX_PIXELS}"))
        return found


def twins_faults(twins: str) -> list[Fault]:
    """The fault of an unknown way to find images that count as one."""
    known = get_args(Twins)
    return [] if twins in known else [unknown_name("way", "target.twins", twins, known)]


def ram_faults(ram_gb: float, disk_gb: float = DISK_GB) -> list[Fault]:
    """The faults of limits of memory and of disk: not positive, negative."""
    faults = []
    if not ram_gb > 0:
        rule = "gigabytes of decoded images to keep in memory: more than 0"
        faults.append(Fault(f"target.ram_gb={ram_gb}", rule, "target.ram_gb=4"))
    if not disk_gb >= 0:
        rule = "gigabytes of decoded images to keep on disk: 0 or more"
        faults.append(Fault(f"target.disk_gb={disk_gb}", rule, f"target.disk_gb={DISK_GB:g}"))
    return faults
