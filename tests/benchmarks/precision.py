"""What half precision brings to a survey, and what it changes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from statistics import mean, median

from effort import Effort
from table import Table, percent, spread
from tasks import Task

from tlsweep.survey.surveyor import survey
from tlsweep.terms import Split
from tlsweep.trial import resolve

PRECISIONS = ("32-true", "bf16-mixed")
COLUMNS = (
    "survey, empty store", "seconds", "mean accuracy, %", "of a head it moved by, %", "at most, %",
    "best cut point",
)  # fmt: skip
Say = Callable[[str], None]
Scores = dict[tuple[int, float], float]


def precision(task: Task, effort: Effort, say: Say) -> Table:
    """The same heads on features of both precisions."""
    seconds: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    scores: dict[str, Scores] = {}
    best: dict[str, str] = {}
    for _ in range(effort.repeats):
        for name in PRECISIONS:
            taken, scores[name], best[name] = _survey(task, name)
            seconds[name].append(taken)
            say(f"{task.name}: survey, {name}: {median(seconds[name]):.2f} s")
    whole = scores[PRECISIONS[0]]
    rows = [_row(name, seconds[name], scores[name], whole, best[name]) for name in PRECISIONS]
    n_select = len(task.question().partition.rows(Split.SELECT))
    notes = [
        f"{len(whole)} heads, penalties of the default sweep, scored on {n_select} select images:"
        f" one image is {100 / n_select:.1f} %.",
    ]
    return Table(f"{task.name}, {task.model}: precision of the pass", COLUMNS, rows, notes)


def _survey(task: Task, name: str) -> tuple[float, Scores, str]:
    question = task.question()
    with tempfile.TemporaryDirectory() as folder:
        settings = task.settings(f"features.cache_dir={folder}", f"train.precision={name}")
        inputs = resolve(settings, question).inputs
        began = time.perf_counter()
        findings, _ = survey(inputs, settings.sweep.survey, None, lambda *_: None)
        seconds = time.perf_counter() - began
    scores = {(row.index, row.regularisation): row.score for row in findings.rows}
    return seconds, scores, question.cuts[findings.ranking()[0]].name


def _row(name: str, taken: Sequence[float], own: Scores, whole: Scores, best: str) -> list[str]:
    moved = [abs(own[head] - whole[head]) for head in whole]
    return [
        name, spread(taken), percent(mean(own.values())), percent(mean(moved)),
        percent(max(moved)), best,
    ]  # fmt: skip
