"""What a training scores, and what it makes of numbers that are of no use."""

from __future__ import annotations

import math

import pytest
import torch
from conftest_train import CLASSES, Pairs, feed, network, settings

from tlsweep.errors import TrialFailure
from tlsweep.plan import monotone
from tlsweep.schedule.base import Ending
from tlsweep.schedule.constant import constant
from tlsweep.schedule.gradual import gradual
from tlsweep.train.feed import Fed
from tlsweep.train.fit import fit, predict
from tlsweep.train.module import EXPLODED

PLAN = monotone(0, 3, 3, 3)


def weights(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("epochs", [4, 60])
def test_how_often_it_is_scored_changes_nothing_else(epochs: int, images: Pairs) -> None:
    train, ends = settings(epochs=epochs, lr=3e-2), {}
    for evaluate in ("every", "last", "never"):
        net = network()
        fitted = fit(
            net, constant(PLAN), feed(images), train, kept=range(0), seed=0, task=CLASSES,
            evaluate=evaluate,  # type: ignore[arg-type]
        )  # fmt: skip
        ends[evaluate] = weights(net), fitted.history
    every, last, never = ends["every"][1], ends["last"][1], ends["never"][1]
    assert all(torch.equal(ends["every"][0], ends[name][0]) for name in ("last", "never"))
    assert all("select_loss" in epoch for epoch in every)
    assert [("select_loss" in epoch) for epoch in last] == [False] * (len(last) - 1) + [True]
    assert last[-1] == every[-1]
    assert [set(epoch) for epoch in never] == [{"fit_loss", "frozen_blocks"}] * len(every)


def test_a_pool_without_a_held_out_part_trains_the_same_and_has_its_own_loss_alone(
    images: Pairs,
) -> None:
    held, whole = network(), network()
    fit(held, constant(PLAN), feed(images), settings(), kept=range(3), seed=0, task=CLASSES)
    alone = fit(
        whole,
        constant(PLAN),
        lambda frozen, epoch: Fed(images, None),
        settings(),
        kept=range(3),
        seed=0,
        task=CLASSES,
    )
    assert torch.equal(weights(held), weights(whole))
    assert [set(epoch) for epoch in alone.history] == [{"fit_loss", "frozen_blocks"}] * 4


def test_a_plateau_ends_phases_by_the_training_loss_where_nothing_is_held_out(
    images: Pairs,
) -> None:
    """A rate of nearly nothing: the loss of a phase does not fall after its first epoch."""
    schedule = gradual(PLAN, Ending("plateau", 9, patience=1))
    train = settings(epochs=12, lr=1e-9, weight_decay=0.0)
    given = Fed(images, None)
    fitted = fit(
        network(), schedule, lambda frozen, epoch: given, train, kept=range(3), seed=0, task=CLASSES
    )
    assert [e["frozen_blocks"] for e in fitted.history][-1] == 0
    assert len({e["frozen_blocks"] for e in fitted.history}) == 4


def test_a_plateau_of_the_held_out_loss_is_looked_for_whatever_else_is_scored(
    images: Pairs,
) -> None:
    schedule = gradual(PLAN, Ending("plateau", 2, patience=1))
    fitted = fit(
        network(),
        schedule,
        feed(images),
        settings(),
        kept=range(3),
        seed=0,
        task=CLASSES,
        evaluate="never",
    )
    assert all("select_loss" in epoch for epoch in fitted.history)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_training_loss_that_explodes_fails_the_trial_and_names_its_rate(
    optimizer: str, images: Pairs
) -> None:
    train = settings(optimizer=optimizer, lr=100.0, epochs=20)
    with pytest.raises(TrialFailure, match=r"diverged: the .*loss.* is .*train\.lr=100"):
        fit(network(), constant(PLAN), feed(images), train, kept=range(0), seed=0, task=CLASSES)


@pytest.mark.parametrize("fault", [math.nan, math.inf, 1e24, 1000 * EXPLODED])
def test_a_held_out_loss_that_is_of_no_use_fails_the_trial(fault: float, images: Pairs) -> None:
    """One held-out image is enough; the training loss alone would not show it."""
    x, y = images.tensors
    held = x.clone()
    held[0] = fault
    given = Fed(images, Pairs(held, y))
    with pytest.raises(TrialFailure, match="loss on the select split is"):
        fit(
            network(),
            constant(PLAN),
            lambda f, e: given,
            settings(),
            kept=range(0),
            seed=0,
            task=CLASSES,
        )


def test_answers_that_are_not_finite_fail_the_trial_where_nothing_was_held_out(
    images: Pairs,
) -> None:
    net = network()
    net.blocks[2][1].running_var.fill_(math.nan)
    with pytest.raises(TrialFailure, match="answers are not finite"):
        predict(net, images, settings())


def test_a_confident_wrong_answer_is_no_divergence(images: Pairs) -> None:
    """Heads that overfit are sure, and often wrong on what is held out; that is a result."""
    x, y = images.tensors
    given = Fed(images, Pairs(x, (y + 1) % 3))
    train = settings(epochs=30, lr=0.1)
    fitted = fit(
        network(dropout=0.0),
        constant(PLAN),
        lambda f, e: given,
        train,
        kept=range(0),
        seed=0,
        task=CLASSES,
    )
    assert fitted.history[-1]["select_loss"] > 3 * math.log(3)
