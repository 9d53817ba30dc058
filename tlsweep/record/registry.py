"""Records by name."""

from __future__ import annotations

from pathlib import Path

from tlsweep.record.base import NoRecord, Record
from tlsweep.record.settings import MlflowRecord
from tlsweep.record.settings import NoRecord as NoRecordSettings


def open_record(settings: MlflowRecord | NoRecordSettings, output_dir: Path) -> Record:
    """The record that a config names. Raises Refusal if it cannot be reached."""
    if isinstance(settings, MlflowRecord):
        from tlsweep.record.mlflow import open_mlflow  # MLflow takes over a second to import

        return open_mlflow(settings.tracking_uri, settings.experiment, output_dir)
    return NoRecord()
