"""A trained plan with a linear head above what it keeps starts at the score of its frozen twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tlsweep.config.settings import Settings
from tlsweep.engine.group import run_in_group
from tlsweep.extract import activations
from tlsweep.plan import monotone
from tlsweep.terms import Split
from tlsweep.trial import Trained, resolve, train_plan
from tlsweep.trial.probe import fit_probe, starts_at_probe
from tlsweep.trial.train import train_as_member

Make = Callable[..., Settings]
FOLDED = 2e-3  # of a loss: a probe's features come from folded blocks, training's do not
STILL = ("train.lr=1e-12", "train.weight_decay=0", "train.epochs=1")
PLANS = {
    "finetune": ("plan=finetune",),
    "last layers": ("plan=last_layers", "plan.freeze=3"),
    "truncated": ("plan=truncate_tuned", "plan.keep=4"),
    "thawed from the top": ("plan=truncate_tuned", "plan.keep=4", "schedule=gradual"),
}


def probe(asked: Settings) -> tuple[dict[str, float], np.ndarray]:
    """Metrics and answers of the plan with all its blocks frozen."""
    trial = resolve(asked)
    keep, n = trial.plan.keep, trial.plan.n_blocks
    frozen = replace(trial, plan=monotone(keep, keep, keep, n))
    metrics, logits = fit_probe(frozen, [Split.SELECT])
    return metrics, logits[Split.SELECT]


def same_answers(trained: Trained, logits_nk: np.ndarray) -> bool:
    """Whether all but one example in a hundred, at most, get the same class."""
    same = trained.logits[Split.SELECT].argmax(1) == logits_nk.argmax(1)
    return bool(same.mean() >= 0.99)


@pytest.mark.parametrize("more", [(), ("train.probe=ridge",)])
@pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
def test_before_any_step_it_answers_as_its_probe_does(
    settings: Make, plan: tuple[str, ...], more: tuple[str, ...]
) -> None:
    asked = settings(*plan, *STILL, *more)
    trained, (metrics, answers) = train_plan(resolve(asked), None), probe(asked)
    start = trained.history[0]
    assert start["fit_loss"] == pytest.approx(metrics["fit_loss"], abs=FOLDED)
    assert start["select_loss"] == pytest.approx(metrics["select_loss"], abs=FOLDED)
    assert same_answers(trained, answers)


@pytest.mark.parametrize("augment", ["views", "live"])
def test_augmentation_leaves_the_start_where_the_probe_is(settings: Make, augment: str) -> None:
    """Fitted to all stored views, or to the images as they are where views are always new."""
    asked = settings("plan=truncate_tuned", "plan.keep=4", *STILL, f"train.augment={augment}")
    trained, (metrics, answers) = train_plan(resolve(asked), None), probe(asked)
    assert trained.history[0]["select_loss"] == pytest.approx(metrics["select_loss"], abs=FOLDED)
    assert same_answers(trained, answers)


@pytest.mark.slow
def test_two_devices_start_where_one_does(settings: Make) -> None:
    plan = ("plan=truncate_tuned", "plan.keep=4", *STILL)
    several = ("train.devices=2", "train.strategy=ddp", "train.accelerator=cpu")
    alone = train_plan(resolve(settings(*plan)), None)
    shared = run_in_group(2, train_as_member, settings(*plan, *several), on_message=lambda m: None)
    assert isinstance(shared, Trained)
    assert shared.history[0] == pytest.approx(alone.history[0], abs=FOLDED)


def test_a_probe_that_is_stored_takes_no_second_pass(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:

    asked = settings("plan=truncate_tuned", "plan.keep=4", *STILL)
    train_plan(resolve(asked), None)
    passes: list[object] = []
    monkeypatch.setattr(activations, "run_pass", lambda *a: passes.append(a))
    train_plan(resolve(asked), None)
    assert passes == []


@pytest.mark.parametrize(
    "without",
    [
        ("plan=transfer_tuned", "plan.keep=4"),
        ("plan=scratch",),
        ("plan=truncate_tuned", "plan.weights=random"),
        ("plan=finetune", "train.head=mlp"),
        ("plan=finetune", "train.head_init=random"),
        ("plan=finetune", "train.batch_norm=batch"),
    ],
    ids=" ".join,
)
def test_where_there_is_no_probe_of_what_is_trained_the_head_starts_at_random(
    settings: Make, without: tuple[str, ...], tmp_path: Path
) -> None:
    asked = settings(*without, *STILL)
    trial = resolve(asked)
    assert not starts_at_probe(trial.plan, asked.train)
    start = train_plan(trial, None).history[0]
    metrics, _ = probe(settings("plan=finetune"))
    assert start["fit_loss"] > 2 * metrics["fit_loss"]


def test_starting_as_a_probe_trains_to_a_lower_loss_in_as_many_epochs(settings: Make) -> None:
    lines = ("plan=truncate_tuned", "plan.keep=4", "train.lr=1e-3", "train.epochs=3")
    first, other = (
        train_plan(resolve(settings(*lines, f"train.head_init={init}")), None).history[-1][
            "fit_loss"
        ]
        for init in ("probe", "random")
    )
    assert first < other
