"""A sweep of seconds, and what it left behind."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from mlflow.tracking import MlflowClient

from tlsweep.files import sqlite_url

Run = Callable[..., subprocess.CompletedProcess[str]]
EndedWell = Callable[..., tuple[Path, str]]

# two epochs; one plan by name and two of the sampler's; one of them confirmed, and one control
SHORT = (
    "train.epochs=2",
    "target.fit_size=60",
    "sweep.minutes=null",
    "sweep.n_trials=2",
    "sweep.fixed=[{plan: scratch}]",
    "sweep.confirm.top=1",
    "sweep.confirm.seeds=2",
    "sweep.confirm.controls=[scratch]",
)
ALONE = (*SHORT, "sweep.n_jobs=1")  # workers take seconds to begin
# studies beside the one that is searched
BESIDE = ("survey", "first", "confirm", "final")
STUDY = "glyphs_to_digits"
ENDS = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)


def trials(output: Path, beside: str = "") -> list[optuna.trial.FrozenTrial]:
    """The trials of the study that is searched, or of one of those beside it."""
    storage = sqlite_url(output / "optuna.db")
    study = f"{STUDY}.{beside}" if beside else STUDY
    return optuna.load_study(study_name=study, storage=storage).trials


def everywhere(output: Path) -> list[optuna.trial.FrozenTrial]:
    return [t for beside in ("", *BESIDE) for t in trials(output, beside)]


def counted(output: Path, *beside: str) -> list[optuna.trial.FrozenTrial]:
    return [t for name in (beside or ("", *BESIDE)) for t in trials(output, name)
            if t.state in ENDS]  # fmt: skip


def runs(output: Path) -> list[Any]:
    client = MlflowClient(sqlite_url(output / "mlflow.db"))
    experiment = client.get_experiment_by_name("tlsweep")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


def verdict_of(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / STUDY / "verdict.json").read_text())
    return found


def shown(text: str) -> str:
    return " ".join(text.replace("│", " ").split())
