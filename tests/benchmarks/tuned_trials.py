"""Tuned trials whose first blocks are frozen: an epoch of training, from three starting points."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from effort import Effort
from frozen_sweep import as_started, met
from job import BATCH, FORWARD_BATCH, Images, Job, accuracy, channels_last, shuffled
from table import Table, number, percent, spread
from tasks import Task
from torch import Tensor, nn
from torch.nn import functional

from tlsweep.cut import section
from tlsweep.train.fit import fit  # noqa: F401 - Lightning is imported before the clock runs
from tlsweep.trial import resolve, train_plan

SHARES = (0.5, 0.75)
TARGETS = {0.5: 1.4, 0.75: 2.3}
OVER_BARE = 1.05
RATE = 1e-4  # of AdamW: whole blocks of ImageNet weights are trained
Say = Callable[[str], None]
Step = Callable[[Tensor], Tensor]
COLUMNS = (
    "tuned trial, seconds an epoch",
    "tlsweep",
    "(b) expert's loop",
    "bare loop",
    "(b) / tlsweep (target)",
    "tlsweep / bare (target)",
    "accuracy, %",
)


@dataclass(frozen=True)
class Epochs:
    """Seconds of each steady epoch, and the accuracy on the select split after the last one."""

    seconds: list[float]
    score: float


@dataclass(frozen=True)
class Suffix:
    """What is trained: the blocks above a freeze point and a head. tail: of the source's cuts."""

    prefix: nn.Module
    tail: nn.Module


def tuned_trials(task: Task, effort: Effort, say: Say) -> Table:
    """Measure with half and three quarters of the FLOPs frozen."""
    job = Job(task, task.question(), effort)
    images = job.images()
    rows = [_row(job, images, share, say) for share in SHARES]
    n_fit, n_select = len(images.y_fit), len(images.y_select)
    title = f"{task.name}, {task.model}: blocks above a freeze point trained, {n_fit} images"
    notes = [
        f"An epoch trains on {n_fit} images in batches of {BATCH} and evaluates {n_select}."
        f" Median (range) of {effort.tuned_repeats} interleaved runs of {effort.tuned_epochs}"
        " epochs, the first of each not counted; storing is not counted either.",
        "tlsweep: train_plan, a Lightning Trainer on stored activations. (b): prefix in eval mode"
        " under no_grad, recomputed each epoch from decoded images in memory. Bare: a PyTorch loop"
        " over activations in memory. All train the same blocks, channels last, by AdamW.",
        "Accuracy after the last epoch: tlsweep, (b), bare; the order of images differs.",
    ]
    return Table(title, COLUMNS, rows, notes)


def freeze_at(job: Job, share: float) -> int:
    """The cut point whose prefix has nearest to this share of the FLOPs."""
    flops = [cost.flops for cost in job.question.costs]
    return min(job.cuts, key=lambda i: abs(flops[i] / flops[-1] - share))


def _row(job: Job, images: Images, share: float, say: Say) -> list[str]:
    freeze = freeze_at(job, share)
    cut, costs = job.question.cuts[freeze], job.question.costs
    found: dict[str, list[Epochs]] = {"ours": [], "loop": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        contenders: dict[str, Callable[[], Epochs]] = {
            "ours": lambda: _ours(job, freeze, Path(folder)),
            "loop": lambda: _from_images(job, images, freeze),
            "bare": lambda: _from_activations(job, images, freeze),
        }
        for _ in range(job.effort.tuned_repeats):
            for name, contender in contenders.items():
                with as_started():
                    found[name].append(contender())
                seconds = number(median(found[name][-1].seconds))
                say(f"{job.task.name}: tuned above {cut.name}: {name}: {seconds} s an epoch")
    seconds = {name: [s for run in runs for s in run.seconds] for name, runs in found.items()}
    ours, loop, bare = (median(seconds[name]) for name in ("ours", "loop", "bare"))
    return [
        f"{costs[freeze].flops / costs[-1].flops:.0%} of the FLOPs frozen (to {cut.name})",
        *(spread(seconds[name]) for name in ("ours", "loop", "bare")),
        f"{loop / ours:.2f}x ({met('', TARGETS[share], loop / ours >= TARGETS[share])})",
        f"{ours / bare:.3f}x ({met('at most', OVER_BARE, ours / bare <= OVER_BARE)})",
        ", ".join(percent(found[name][-1].score) for name in ("ours", "loop", "bare")),
    ]


def _between(ends: Sequence[float]) -> list[float]:
    """Seconds of all epochs but the first."""
    return [after - before for before, after in pairwise(ends)]


# ---------------------------------------------------------------------- tlsweep
def _ours(job: Job, freeze: int, folder: Path) -> Epochs:
    settings = job.task.settings(
        "plan=last_layers", f"plan.freeze={freeze}", "stage=search", f"train.lr={RATE}",
        "train.lr_ratio=1", "train.lr_schedule=constant", f"train.batch_size={BATCH}",
        f"train.epochs={job.effort.tuned_epochs}", f"features.cache_dir={folder}",
    )  # fmt: skip
    ends, scores = [], []

    def on_epoch(epoch: int, metrics: dict[str, float], least: int) -> bool:
        ends.append(time.perf_counter())
        scores.append(metrics["select_accuracy"])
        return False

    trained = train_plan(resolve(settings), on_epoch)
    # else it was not stored activations that were measured
    assert trained.start.startswith(f"from {job.question.cuts[freeze].name},"), trained.start
    return Epochs(_between(ends), scores[-1])


# ---------------------------------------------------------------------- plain PyTorch
def _suffix(job: Job, freeze: int) -> Suffix:
    torch.manual_seed(0)
    model, cuts = job.question.source.model(), job.question.cuts
    last = job.cuts[-1]
    head = nn.Linear(cuts[last].shape[0], job.n_classes)
    above = section(model, cuts, freeze, last)
    tail = nn.Sequential(above, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    layout = torch.channels_last
    prefix = section(model, cuts, 0, freeze).eval().to(memory_format=layout)
    return Suffix(prefix, tail.to(memory_format=layout))


def _from_images(job: Job, images: Images, freeze: int) -> Epochs:
    """(b) The prefix again in every epoch."""
    suffix = _suffix(job, freeze)

    @torch.no_grad()
    def start(x_bchw: Tensor) -> Tensor:
        z: Tensor = suffix.prefix(channels_last(x_bchw))
        return z

    return _train(job, suffix.tail, start, images.x_fit, images.x_select, images)


def _from_activations(job: Job, images: Images, freeze: int) -> Epochs:
    """The prefix once; its seconds are not counted."""
    suffix = _suffix(job, freeze)
    with torch.no_grad():
        z_fit, z_select = (
            torch.cat([suffix.prefix(channels_last(x)) for x in x_nchw.split(FORWARD_BATCH)])
            for x_nchw in (images.x_fit, images.x_select)
        )
    return _train(job, suffix.tail, channels_last, z_fit, z_select, images)


def _train(
    job: Job, tail: nn.Module, start: Step, x_fit: Tensor, x_select: Tensor, images: Images
) -> Epochs:
    optimizer = torch.optim.AdamW(tail.parameters(), lr=RATE, weight_decay=1e-2)
    ends, score = [], 0.0
    for _ in range(job.effort.tuned_epochs):
        tail.train()
        for batch in shuffled(torch.arange(len(x_fit))):
            loss = functional.cross_entropy(tail(start(x_fit[batch])), images.y_fit[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        score = accuracy(torch.cat(list(_logits(tail, start, x_select))), images.y_select)
        ends.append(time.perf_counter())
    return Epochs(_between(ends), score)


@torch.no_grad()
def _logits(tail: nn.Module, start: Step, x_nchw: Tensor) -> Iterator[Tensor]:
    tail.eval()
    for x in x_nchw.split(BATCH):
        yield tail(start(x))
