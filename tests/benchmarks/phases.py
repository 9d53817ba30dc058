"""A schedule that thaws: what stored activations and a shared first phase bring."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from statistics import median

from effort import Effort
from job import Job
from table import Table, number, percent, spread
from tasks import Task
from tuned_trials import BATCH, RATE, as_started, freeze_at

from tlsweep.terms import Split
from tlsweep.trial import Trained, resolve, train_plan

FROZEN = 0.5  # share of the FLOPs that the last phase leaves frozen
COLUMNS = ("two phases", "seconds a trial", "faster by", "accuracy, %", "started")
Say = Callable[[str], None]


def phases(task: Task, effort: Effort, say: Say) -> Table:
    """The head first, then the upper half: from images, from stores, and with the phase shared."""
    job = Job(task, task.question(), effort)
    freeze, half = freeze_at(job, FROZEN), max(1, effort.tuned_epochs - 1)
    lines = (
        "plan=last_layers", f"plan.freeze={freeze}", "schedule=two_phase",
        f"schedule.epochs={half}", f"train.epochs={2 * half}", "stage=search",
        f"train.lr={RATE}", f"train.batch_size={BATCH}",
    )  # fmt: skip
    seconds: dict[str, list[float]] = {}
    ended: dict[str, Trained] = {}
    for _ in range(effort.tuned_repeats):
        with tempfile.TemporaryDirectory() as folder:
            kept = f"features.cache_dir={folder}"
            contenders = {
                "all from images": (
                    *lines, "features.budget_gb=0", f"features.cache_dir={folder}/none",
                ),
                "first trial: stores what it needs": (*lines, kept),
                "next trial: first phase and activations found": (
                    *lines, kept, "train.block_decay=0.5",
                ),
            }  # fmt: skip
            for name, overrides in contenders.items():
                with as_started():
                    began = time.perf_counter()
                    ended[name] = train_plan(resolve(task.settings(*overrides)), None)
                    seconds.setdefault(name, []).append(time.perf_counter() - began)
                say(f"{task.name}: two phases: {name}: {number(seconds[name][-1])} s")
    slow = median(next(iter(seconds.values())))
    labels = job.question.target.labels[job.question.partition.rows(Split.SELECT)]
    rows = [
        [
            name,
            spread(taken),
            f"{slow / median(taken):.2f}x",
            percent(float((ended[name].logits[Split.SELECT].argmax(1) == labels).mean())),
            ended[name].start,
        ]
        for name, taken in seconds.items()
    ]
    cut = job.question.cuts[freeze].name
    notes = [
        f"{half} epochs of the head alone, then {half} of the blocks above {cut}; the next trial"
        " has other rates for kept blocks (train.block_decay), which its first phase does not use."
    ]
    return Table(f"{task.name}, {task.model}: trials in two phases", COLUMNS, rows, notes)
