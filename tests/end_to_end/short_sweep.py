"""A sweep of seconds."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]

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
# studies beside the one that is searched
BESIDE = ("survey", "first", "confirm", "final")
