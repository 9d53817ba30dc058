"""What passes and training steps gain by folding BatchNorm, and what it changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch
from effort import Effort
from job import FORWARD_BATCH, channels_last
from table import Table, number, spread
from tasks import Task
from torch import Tensor, nn
from torch.nn import functional

from tlsweep.config.settings import Settings
from tlsweep.cut import section
from tlsweep.extract.taps import Taps
from tlsweep.heads.head import pool
from tlsweep.plan import TransferPlan
from tlsweep.question import Question
from tlsweep.terms import Split
from tlsweep.train.network import BATCH_NORMS

EAGER, PLAIN, FOLDED = "the bare model, eager", "all cut points, as it is", "all cut points, folded"
COLUMNS = ("frozen pass", "images/s", "times the eager pass", "off, % of the spread")
Say = Callable[[str], None]
Pass = Callable[[Tensor], list[Tensor]]


def folding(task: Task, effort: Effort, say: Say) -> Table:
    """The same images through all three, batch by batch in turn, in both precisions."""
    question = task.question()
    images = question.examples(Split.FIT)
    batches = [images.batch(rows)[0] for rows in torch.arange(len(images)).split(FORWARD_BATCH)]
    rows, contenders = [], _contenders(task, question)
    with torch.no_grad():
        truth = [contenders[PLAIN](x) for x in batches]
        for name in ("float32", "bfloat16"):
            with torch.autocast("cpu", torch.bfloat16, enabled=name == "bfloat16"):
                rows += _measured(contenders, name, batches, truth, effort)
            say(f"{task.name}: folding, {name}: {rows[-1][2]} times the eager pass")
    notes = [
        f"{len(images)} decoded images, {effort.repeats} passes, contenders in turn at every batch."
        " Off: root mean square of the difference to the pass as it is in float32, at the cut point"
        " where it is largest.",
    ]
    return Table(f"{task.name}, {task.model}: BatchNorm folded", COLUMNS, rows, notes)


def _measured(
    contenders: dict[str, Pass],
    name: str,
    batches: list[Tensor],
    truth: list[list[Tensor]],
    effort: Effort,
) -> list[list[str]]:
    seconds: dict[str, list[float]] = {key: [] for key in contenders}
    off = dict.fromkeys(contenders, 0.0)
    for run in contenders.values():  # warm
        run(batches[0])
    for _ in range(effort.repeats):
        taken = dict.fromkeys(contenders, 0.0)
        for x, expected in zip(batches, truth, strict=True):
            for key, run in contenders.items():
                began = time.perf_counter()
                found = run(x)
                taken[key] += time.perf_counter() - began
                off[key] = max(off[key], 0.0 if key == EAGER else _off(found, expected))
        for key, value in taken.items():
            seconds[key].append(value)
    images = sum(map(len, batches))
    return [
        [
            f"{key}, {name}",
            spread([images / value for value in taken_by]),
            number(median(a / b for a, b in zip(taken_by, seconds[EAGER], strict=True))),
            "-" if key == EAGER else f"{100 * off[key]:.2g}",
        ]
        for key, taken_by in seconds.items()
    ]


def _contenders(task: Task, question: Question) -> dict[str, Pass]:
    cuts = question.cuts
    model = question.source.model().to(memory_format=torch.channels_last)
    rules = [question.pooling(index, task.settings().train) for index in range(len(cuts))]
    parts = [section(model, cuts, i, i + 1) for i in range(cuts.n_blocks)]
    taps = Taps(question.source.model(), cuts, range(len(cuts)), rules)

    def plain(x: Tensor) -> list[Tensor]:
        z = channels_last(x)
        taken = [pool(z, rules[0])]
        for part, rule in zip(parts, rules[1:], strict=True):
            z = part(z)
            taken.append(pool(z, rule))
        return taken

    def eager(x: Tensor, whole: nn.Module = model) -> list[Tensor]:
        return [whole(channels_last(x))]

    return {EAGER: eager, PLAIN: plain, FOLDED: taps}


def _off(found: list[Tensor], expected: list[Tensor]) -> float:
    pairs = zip(found, expected, strict=True)
    return max(float((a.float() - b).square().mean().sqrt() / b.std()) for a, b in pairs)


# ---------------------------------------------------------------------- in training
UNFOLDED, TRAINED = "training step, blocks as they are", "training step, folded in each pass"
STEPS = 8  # of each contender, a repeat


def folding_in_training(task: Task, effort: Effort, say: Say) -> Table:
    """Steps of ``finetune`` whose BatchNorm keeps its statistics, both ways, in turn."""
    settings = task.settings("plan=finetune")
    question = task.question()
    plan, images = question.plan(settings.plan), question.examples(Split.FIT)
    rows = torch.arange(min(len(images), settings.train.batch_size))
    x, _, y = images.batch(rows)
    steps = {name: _stepper(question, plan, settings, x, y, name) for name in (UNFOLDED, TRAINED)}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(1 + STEPS * effort.repeats):  # the first one is not counted
        for name, step in steps.items():
            began = time.perf_counter()
            losses[name].append(step())
            seconds[name].append(time.perf_counter() - began)
    ratios = [a / b for a, b in zip(seconds[TRAINED], seconds[UNFOLDED], strict=True)][1:]
    off = max(abs(a - b) for a, b in zip(losses[TRAINED], losses[UNFOLDED], strict=True))
    say(f"{task.name}: folding in training: {number(median(ratios))} times a step without")
    table = [
        [name, spread([1000 * s for s in seconds[name][1:]]), number(median(own))]
        for name, own in ((UNFOLDED, [1.0]), (TRAINED, ratios))
    ]
    notes = [
        f"Batches of {len(rows)}, all blocks trained, {STEPS * effort.repeats} steps of each, in"
        f" turn. The losses of all these steps differ by at most {off:.2g}.",
    ]
    columns = ("AdamW", "ms a step", "times a step without folding")
    return Table(f"{task.name}, {task.model}: BatchNorm folded in training", columns, table, notes)


def _stepper(
    question: Question, plan: TransferPlan, settings: Settings, x: Tensor, y: Tensor, name: str
) -> Callable[[], float]:
    network = question.network(plan, settings.train, 0)
    network.steady = frozenset(plan.learned if name == TRAINED else ())
    network.thaw(range(plan.regrow))
    network.train()
    for module in network.modules():
        if isinstance(module, BATCH_NORMS):
            module.eval()
    network.head.calibrate([network.activations(x).detach()])
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)

    def step() -> float:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step
