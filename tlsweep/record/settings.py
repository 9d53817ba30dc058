"""Where runs are recorded: the settings of ``record``."""

from __future__ import annotations

from typing import Literal

from tlsweep.section import Address, Section


class MlflowRecord(Section):
    """conf/record/mlflow.yaml."""

    name: Literal["mlflow"]
    tracking_uri: Address | None
    experiment: str


class NoRecord(Section):
    """conf/record/none.yaml."""

    name: Literal["none"]
