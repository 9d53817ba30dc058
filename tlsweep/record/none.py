"""The record "none": no other than the study's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tlsweep.record.base import NoRecord, Record, TrialRecord
from tlsweep.section import RecordSettings


class Settings(RecordSettings):
    """conf/record/none.yaml."""

    name: Literal["none"]


def open(settings: Settings, output_dir: Path) -> Record:  # noqa: A001
    """A record that keeps nothing."""
    return NoRecord()


def join(settings: Settings, output_dir: Path, parent_run: str) -> TrialRecord:
    """A record that keeps nothing."""
    return NoRecord()
