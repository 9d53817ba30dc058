"""The record "mlflow": one parent run a sweep, one child run a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tlsweep.record.base import Record, TrialRecord
from tlsweep.record.spooled import Spooled
from tlsweep.section import Address, RecordSettings


class Settings(RecordSettings):
    """conf/record/mlflow.yaml."""

    name: Literal["mlflow"]
    tracking_uri: Address | None
    experiment: str | None


def open(settings: Settings, output_dir: Path) -> Record:  # noqa: A001
    """The record. Raises Refusal if it cannot be reached."""
    from tlsweep.record.opening import open_mlflow  # MLflow takes over a second to import

    return open_mlflow(settings.tracking_uri, settings.experiment, output_dir)


def join(settings: Settings, output_dir: Path, parent_run: str) -> TrialRecord:
    """The record of a sweep's trial: written down, and told by the process that leads the sweep."""
    return Spooled(output_dir, parent_run.partition("-")[0])
