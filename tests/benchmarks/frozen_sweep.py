"""The frozen sweep: all cut points x 4 regularisations x 3 draws, of one task, by everyone."""

from __future__ import annotations

import gc
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, median

import torch
from effort import Effort
from job import BATCH, DRAWS, LEARNING_RATE, SHARE, Job, Outcome, Place
from opponents.backbone_finetuning import lightning, lightning_without_bn
from opponents.cached_module import cached_module
from opponents.extractor import extractor_and_sklearn
from opponents.own_loop import own_loop
from opponents.shared_forward import shared_forward
from ours import Ours, floor
from table import Table, number, percent, spread
from tasks import Task

from tlsweep.terms import Split

Contender = Callable[[Job], Outcome]
Say = Callable[[str], None]

OURS, WARM, FLOOR = (
    "tlsweep, empty store",
    "tlsweep, filled store",
    "floor: decoding + one bare pass",
)
WHOLE: Mapping[str, Contender] = {
    "(c) torchvision extractor + scikit-learn": extractor_and_sklearn,
    "(d) DINOv2's way: one forward an epoch": shared_forward,
}
SAMPLED: Mapping[str, Contender] = {
    "(a) Lightning, BackboneFinetuning": lightning,
    "(a') the same, train_bn=False": lightning_without_bn,
    "(b) expert's loop": own_loop,
    "(e) torchcache, one loop a trial": cached_module,
}
TARGETS = {"(a)": 500, "(b)": 300, "(c)": 3, "(d)": 5}
OVER_FLOOR = 1.3
COLUMNS = (
    "frozen sweep",
    "seconds",
    "tlsweep is faster by (target)",
    "accuracy, %: best / mean",
    "tlsweep's, same heads",
    "timed",
)


def frozen_sweep(task: Task, effort: Effort, say: Say) -> Table:
    """Run every contender on a task and compare."""
    outcomes: dict[str, list[Outcome]] = {}
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(Path(folder))
        whole = {FLOOR: floor, OURS: ours.cold, WARM: ours.warm, **WHOLE}
        for _ in range(effort.repeats):  # interleaved: a slow minute then slows all of them
            for name, contender in whole.items():
                outcomes.setdefault(name, []).append(_timed(contender, task, effort, name, say))
    for name, contender in SAMPLED.items():
        outcomes[name] = [_timed(contender, task, effort, name, say)]
    return _table(Job(task, task.question(), effort), outcomes)


def _timed(contender: Contender, task: Task, effort: Effort, name: str, say: Say) -> Outcome:
    job = Job(task, task.question(), effort)
    gc.collect()
    with as_started():
        outcome = contender(job)
    say(f"{task.name}: {name}: {number(outcome.seconds)} s")
    return outcome


@contextmanager
def as_started() -> Iterator[None]:
    """Undo afterwards what a Trainer sets for the whole process and others would pay for."""
    before = torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


# ---------------------------------------------------------------------- the table
def _table(job: Job, outcomes: Mapping[str, Sequence[Outcome]]) -> Table:
    ours = outcomes[OURS]
    base = median(o.seconds for o in ours)
    opponents = sorted({**SAMPLED, **WHOLE}, key=lambda name: name.partition(")")[0])
    rows = [
        _row(name, outcomes[name], ours[0].scores, base) for name in (*opponents, FLOOR, OURS, WARM)
    ]
    parts = job.question.partition
    n_fit, n_select = len(parts.rows(Split.FIT)), len(parts.rows(Split.SELECT))
    title = (
        f"{job.task.name}, {job.task.model}, {n_fit} + {n_select} images at"
        f" {job.question.source.spec.size} px: {len(job.cuts)} cuts x {len(job.penalties)}"
        f" regularisations x {DRAWS} draws = {job.heads} heads"
    )
    return Table(title, COLUMNS, rows, _notes(job, outcomes))


def _row(
    name: str, outcomes: Sequence[Outcome], ours: Mapping[Place, float], base: float
) -> list[str]:
    seconds = [outcome.seconds for outcome in outcomes]
    scores, timed = outcomes[0].scores, outcomes[0].timed
    if math.isnan(seconds[0]):
        return [name, "-", "-", "-", "-", timed]
    same = {place: ours[place] for place in scores}
    ratio = _against(name, median(seconds) / base)
    return [name, spread(seconds), ratio, _accuracy(scores), _accuracy(same), timed]


def _against(name: str, ratio: float) -> str:
    if name == OURS:
        return "1"
    if name == FLOOR:
        over = 1 / ratio
        return f"takes {over:.2f}x ({met('at most', OVER_FLOOR, over <= OVER_FLOOR)})"
    least = TARGETS.get(name.partition(" ")[0])
    return f"{number(ratio)}x" + ("" if least is None else f" ({met('', least, ratio >= least)})")


def met(most: str, target: float, reached: bool) -> str:
    """A target, and whether it is reached."""
    return f"{most} {target:g}x: {'met' if reached else 'missed'}".lstrip()


def _accuracy(scores: Mapping[Place, float]) -> str:
    if not scores:
        return "-"
    return f"{percent(best_of_each_cut(scores))} / {percent(mean(scores.values()))}"


def best_of_each_cut(scores: Mapping[Place, float]) -> float:
    """The best head of each cut point, averaged over the cut points."""
    best: dict[int, float] = {}
    for (cut, _, _), score in scores.items():
        best[cut] = max(score, best.get(cut, 0.0))
    return mean(best.values())


def _notes(job: Job, outcomes: Mapping[str, Sequence[Outcome]]) -> list[str]:
    def part(name: str, what: str) -> str:
        return number(median((outcome.parts or {})[what] for outcome in outcomes[name]))

    sklearn = "(c) torchvision extractor + scikit-learn"
    return [
        f"Seconds: median of {job.effort.repeats} interleaved runs (range) where timed whole, else"
        " one run of the sampled trials, interpolated between their cut points and multiplied.",
        "Accuracy on the select split, of the heads that were trained: the best of each cut point,"
        " averaged over cut points, and the mean of all; beside it tlsweep's of the same heads.",
        f"A draw is {SHARE:.0%} of the fit split, the same for all. tlsweep also fits heads to the"
        " whole of it, to raw pixels and to the source's own pooling, and computes transferability"
        " scores, all within its seconds.",
        f"(a), (b), (d), (e): {job.effort.epochs} epochs of AdamW at {LEARNING_RATE:g}, batches of"
        f" {BATCH}, the regularisation as weight decay, heads that standardise by BatchNorm;"
        " (c) and tlsweep: logistic regression on standardised features to the optimum. All but"
        " (a) run channels last. Opponents read decoded images from memory, decoded once.",
        f"Floor: decoding {part(FLOOR, 'decoding')} s, forward pass"
        f" {part(FLOOR, 'forward pass')} s. (c): decoding and features"
        f" {part(sklearn, 'decoding and features')} s, heads {part(sklearn, 'heads')} s.",
    ]
