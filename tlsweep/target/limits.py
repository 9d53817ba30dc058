"""Checks of options that every target has."""

from __future__ import annotations

from tlsweep.errors import Fault


def ram_faults(ram_gb: float) -> list[Fault]:
    """The fault of a memory limit that is not positive, if it is not."""
    if ram_gb > 0:
        return []
    rule = "gigabytes of decoded images to keep in memory: more than 0"
    return [Fault(f"target.ram_gb={ram_gb}", rule, "target.ram_gb=4")]
