"""The one way to open a record by its name."""

from __future__ import annotations

from pathlib import Path

from tlsweep.record.base import Record
from tlsweep.registry import component
from tlsweep.section import RecordSettings


def open_record(settings: RecordSettings, output_dir: Path) -> Record:
    """The record that a config names. Raises Refusal if it cannot be reached."""
    found: Record = component("record", settings.name).open(settings, output_dir)
    return found
