"""Whether controls are trained out: as a sweep trains them, against a grid of rates and epochs.

And what decay and batch do to new layers, on the same task.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from table import Table, percent

from tlsweep.cli import conf_folder
from tlsweep.config import read
from tlsweep.outcome import accuracies
from tlsweep.overrides import compose_config
from tlsweep.question import open_question
from tlsweep.terms import Split
from tlsweep.trial import train_plan

SEEDS = range(100, 105)
RATES, EPOCHS = ("1e-3", "3e-3", "1e-2", "3e-2"), (12, 30, 60)
OURS = {  # as sweep.fixed has them
    "scratch": [("train.lr=3e-3", "train.weight_decay=1.0", "train.settle=false"),
                ("train.lr=1e-2", "train.weight_decay=1.0", "train.settle=false")],
    "finetune": [("train.lr_ratio=0.03", "train.probe_penalty=1.0"),
                 ("train.lr_ratio=0.3", "train.probe_penalty=1.0"),
                 ("train.lr_ratio=0.3", "train.batch_norm=batch")],
}  # fmt: skip
COMMON = {"scratch": (), "finetune": ("train.lr_ratio=0.3", "train.probe_penalty=1.0")}
FRESH = {"scratch": (), "transfer": ("plan.keep=block4",)}
BATCHES, DECAYS = (32, 16), (0.01, 0.3, 1.0)
ALLOWED = 0.005  # what the best of the grid may be better by
Say = Callable[[str], None]
Scores = npt.NDArray[np.float64]


def controls(say: Say) -> list[Table]:
    """On the embedded task: the best setting is chosen on one half, and scored on the other."""
    rows = []
    for plan, ours in OURS.items():
        grid = [
            (*COMMON[plan], f"train.lr={lr}", f"train.epochs={epochs}", "train.settle=false")
            for lr, epochs in itertools.product(RATES, EPOCHS)
        ]
        say(f"controls: {plan} as a sweep trains it")
        mine, name = _best(plan, ours)
        best, other = _best(plan, grid, lambda done: say(f"controls: {done} of the grid"))
        lacks = best - mine
        rows.append([
            plan, percent(mine), " ".join(name), percent(best), " ".join(other[-3:-1]),
            f"{100 * lacks:+.1f}", "met" if lacks <= ALLOWED else "missed",
        ])  # fmt: skip
    columns = ("control", "as a sweep, %", "with", "best of the grid, %", "with", "lacks", "")
    notes = [
        f"Digits, 200 labels, {len(SEEDS)} seeds; the grid: {len(RATES)} rates x"
        f" {len(EPOCHS)} numbers of epochs, decay and batch as by default. Of both the best is"
        " chosen on one half of the report split and scored on the other half.",
    ]
    return [Table("Controls: are they trained out?", columns, rows, notes), _new_layers(say)]


def _new_layers(say: Say) -> Table:
    """What decay and batch do to a network with much that is new."""
    rows, settings = [], list(itertools.product(BATCHES, DECAYS))
    for plan, more in FRESH.items():
        say(f"controls: batch and decay of {plan}")
        row = [f"plan={plan} {' '.join(more)}".strip()]
        for batch, decay in settings:
            lines = (*more, f"train.batch_size={batch}", f"train.weight_decay={decay}")
            scores = [_scores(plan, lines, seed).mean() for seed in SEEDS]
            row.append(f"{percent(float(np.mean(scores)))} ± {100 * np.std(scores, ddof=1):.1f}")
        rows.append(row)
    columns = ("report score, % ± seeds", *(f"{b} images, {d:g}" for b, d in settings))
    notes = ["`train.batch_size` and `train.weight_decay`, which new layers feel."]
    return Table("New layers: batch and decay", columns, rows, notes)


def _best(
    plan: str, settings: Sequence[Sequence[str]], said: Callable[[int], None] = lambda _: None
) -> tuple[float, Sequence[str]]:
    """The score on the second half of the setting that is best on the first, and the setting."""
    found = []
    for number, lines in enumerate(settings):
        said(number)
        found.append(np.mean([_scores(plan, lines, seed) for seed in SEEDS], axis=0))
    first, second = (np.array([s[half::2].mean() for s in found]) for half in (0, 1))
    place = int(first.argmax())
    return float(second[place]), settings[place]


def _scores(plan: str, lines: Sequence[str], seed: int) -> Scores:
    asked = (f"plan={plan}", *lines, f"seed={seed}", "fold=null", "stage=final", "record=none")
    settings = read(compose_config(asked, conf_folder()))
    question = open_question(settings)
    try:
        logits = train_plan(settings, None).logits[Split.REPORT]
    except Exception:  # a rate that diverges is not the best one
        return np.zeros(len(question.partition.report))
    return accuracies(logits, question.target.labels[question.partition.report]).astype(float)
