"""A sweep of seconds."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Run = Callable[..., subprocess.CompletedProcess[str]]

# a sweep of seconds: two epochs, six trials, two replicates
SHORT = (
    "train.epochs=2",
    "target.fit_size=60",
    "sweep.n_trials=6",
    "sweep.fixed=[{plan: truncate, plan.keep: 'block1,block3'}, {plan: scratch}]",
    "sweep.confirm.seeds=2",
    "sweep.confirm.top=2",
    "sweep.confirm.curve=false",
)
