"""A sweep of seconds."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]

# two epochs; six trials, three of them from the survey; two replicates
SHORT = (
    "train.epochs=2",
    "target.fit_size=60",
    "sweep.n_trials=6",
    "sweep.fixed=[{plan: scratch}]",
    "sweep.confirm.seeds=2",
    "sweep.confirm.top=2",
    "sweep.confirm.curve=false",
)
