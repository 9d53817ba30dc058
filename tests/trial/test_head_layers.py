"""Hidden layers and dropout of a head: what a trial trains, records and says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tlsweep import load_model
from tlsweep.config.settings import Settings
from tlsweep.model.write import write_model
from tlsweep.terms import Split
from tlsweep.trial import describe, resolve, settings_of, train_plan

Make = Callable[..., Settings]
MLP = ("plan=truncate", "plan.keep=1", "train.head=mlp", "train.head_sizes=[32,16]")


def test_the_sizes_asked_for_are_trained_recorded_and_part_of_the_trial(settings: Make) -> None:
    asked, other = settings(*MLP), settings(*MLP[:3])
    trial = resolve(asked)
    features = trial.question.head(trial.plan, trial.train, 0).mean.shape[0]
    layers = [(features, 32), (32, 16), (16, 10)]
    wanted = sum(low * high + high for low, high in layers)
    assert describe(trial).trained_parameters == wanted
    assert settings_of(asked)["train.head_sizes"] == "[32,16]"
    assert settings_of(other)["train.head_sizes"] == "null"
    assert trial.digest != resolve(other).digest


def test_a_model_with_such_a_head_is_read_again(settings: Make, tmp_path: Path) -> None:
    trial = resolve(settings(*MLP, "train.dropout=0.5", "keep_weights=true"))
    network = train_plan(trial, None).network
    assert network is not None
    taken = load_model(write_model(tmp_path / "study", trial, network, {}))
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        network.entry = 0
        torch.testing.assert_close(taken(x), network.eval()(x))


@pytest.mark.parametrize("plan", [MLP, ("plan=truncate_tuned", "plan.keep=1")])
def test_dropout_acts_in_training_and_not_in_what_is_scored(
    settings: Make, plan: tuple[str, ...]
) -> None:
    plain = train_plan(resolve(settings(*plan)), None)
    asked = resolve(settings(*plan, "train.dropout=0.5"))
    dropping, again = train_plan(asked, None), train_plan(asked, None)
    assert dropping.history[-1]["fit_loss"] > plain.history[-1]["fit_loss"]
    np.testing.assert_array_equal(dropping.logits[Split.SELECT], again.logits[Split.SELECT])
    assert "dropout" not in dropping.start


def test_a_head_at_its_optimum_says_that_dropout_does_nothing(settings: Make) -> None:
    probe = ("plan=truncate", "plan.keep=1")
    asked = train_plan(resolve(settings(*probe, "train.dropout=0.5")), None)
    assert asked.start.endswith(
        "; train.dropout=0.5 without effect: all blocks are frozen, and there are no epochs"
    )
    plain = train_plan(resolve(settings(*probe)), None)
    np.testing.assert_array_equal(asked.logits[Split.SELECT], plain.logits[Split.SELECT])
