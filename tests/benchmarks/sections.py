"""The sections of the benchmark, on the tasks that they are about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from effort import Effort
from folding import folding, folding_in_training
from frozen_sweep import frozen_sweep
from memory import memory
from phases import phases
from precision import precision
from table import Table
from tasks import open_tasks
from tuned_trials import tuned_trials


def measure(
    sections: Sequence[str],
    names: Sequence[str],
    real: Path | None,
    effort: Effort,
    say: Callable[[str], None],
) -> list[Table]:
    """A table a section and task; tuned trials, phases and memory on the first task alone."""
    tables = []
    with open_tasks(names, real, effort.fit_size) as tasks:
        if "frozen" in sections:
            tables += [frozen_sweep(task, effort, say) for task in tasks]
        if "folding" in sections:
            tables += [folding(task, effort, say) for task in tasks]
            tables += [folding_in_training(task, effort, say) for task in tasks]
        if "tuned" in sections:
            tables.append(tuned_trials(tasks[0], effort, say))
        if "phases" in sections:
            tables.append(phases(tasks[0], effort, say))
        if "precision" in sections:
            tables += [precision(task, effort, say) for task in tasks]
        if "memory" in sections:
            tables.append(memory(tasks[0], effort, say))
    return tables
