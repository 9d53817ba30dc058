"""The one way to a record by its name."""

from __future__ import annotations

from pathlib import Path

from tlsweep.record.base import NoRecord, Record, TrialRecord
from tlsweep.registry import component
from tlsweep.section import RecordSettings


def open_record(settings: RecordSettings, output_dir: Path) -> Record:
    """The record that a config names. Raises Refusal if it cannot be reached."""
    found: Record = component("record", settings.name).open(settings, output_dir)
    return found


def join_record(settings: RecordSettings, output_dir: Path, parent_run: str | None) -> TrialRecord:
    """The record of a sweep for one of its trials, which asks no server.

    parent_run: the id of the sweep's run; None where it has none.
    """
    if parent_run is None:
        return NoRecord()
    joined: TrialRecord = component("record", settings.name).join(settings, output_dir, parent_run)
    return joined
