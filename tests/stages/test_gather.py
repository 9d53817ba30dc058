"""What the page is given: counts that add up, the surest mistakes, epochs of the right plans."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from tlsweep.cli import conf_folder
from tlsweep.config.read import read
from tlsweep.facts import Facts
from tlsweep.question import Question
from tlsweep.report.answered import answered, thumbnail
from tlsweep.stages.gather import at_end
from tlsweep.study.space import Space
from tlsweep.trial import question_of, trial_name


@pytest.fixture(scope="module")
def question() -> Question:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return question_of(read(compose("config", overrides=["target.fit_size=40"])))


def test_confusion_classes_and_mistakes_are_of_the_report_split(question: Question) -> None:
    """Every image is counted once, and what is right stands on the diagonal."""
    rows, target = question.partition.report, question.target
    y, k = target.labels[rows], len(target.output_names)
    logits = np.eye(k, dtype=np.float32)[y] * 5
    for place, surely in ((3, 9.0), (10, 20.0)):  # two mistakes, the second one surer
        logits[place] = 0
        logits[place, (y[place] + 1) % k] = surely
    found = answered(question, logits)
    assert found.wrong == 2
    assert int(found.confusion_kk.sum()) == len(rows)
    assert int(np.trace(found.confusion_kk)) == len(rows) - 2
    assert [c.index for c in found.worst] == [rows[10], rows[3]]
    assert found.worst[0].called == target.called(int(rows[10]))
    assert found.worst[0].true == target.output_names[y[10]]
    assert found.worst[0].predicted == target.output_names[(y[10] + 1) % k]
    assert found.worst[0].probability > found.worst[1].probability > 0.9
    for row, name in zip(found.classes, target.output_names, strict=True):
        assert row.name == name
        assert row.interval[0] <= row.accuracy <= row.interval[1]
    assert sum(row.images for row in found.classes) == len(rows)
    assert sum(row.labelled for row in found.classes) == len(question.partition.pool)
    assert sum(row.taken for row in found.classes) == 2


@pytest.mark.parametrize(("channels", "side", "shown"), [(1, 32, 96), (3, 40, 120), (3, 128, 128)])
def test_a_thumbnail_is_the_image_and_large_enough_to_be_seen(
    channels: int, side: int, shown: int
) -> None:
    pixels = torch.zeros(channels, side, side, dtype=torch.uint8)
    pixels[:, : side // 2] = 250
    image = Image.open(io.BytesIO(thumbnail(pixels))).convert("L")
    assert (image.format or "JPEG", image.size) == ("JPEG", (shown, shown))
    seen = np.asarray(image, dtype=float)
    assert seen[: shown // 4].min() > 220
    assert seen[-shown // 4 :].max() < 30


@pytest.mark.parametrize(
    ("value", "near"), [(1e-5, True), (1.05e-5, True), (1e-3, False), (9.9e-3, True)]
)
def test_a_rate_is_at_the_end_of_its_range_by_its_logarithm(value: float, near: bool) -> None:
    assert at_end(value, 1e-5, 1e-2) == near


def test_a_space_tells_the_ends_of_ranges_alone() -> None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    space = Space({"train.lr": FloatDistribution(1e-4, 1e-2, log=True),
                   "plan": CategoricalDistribution(["a", "b"])})  # fmt: skip
    assert space.ends("train.lr") == (1e-4, 1e-2)
    assert space.ends("plan") is None
    assert space.ends("train.epochs") is None


def test_names_of_runs_tell_apart_whatever_the_sampler_changes(
    facts: Callable[..., Facts],
) -> None:
    """Two trials that differ in a rate, a fold, a seed or their stage have two names."""
    usual = {"name": "truncate_tuned", "keep": 3, "freeze": 0, "fold": 1, "seed": 2}
    names = {
        trial_name(stage, facts(**{**usual, **other}))
        for stage, other in [
            ("search", {}),
            ("confirm", {}),
            ("search", {"lr": 0.00301}),
            ("search", {"lr_ratio": 1.0}),
            ("search", {"fold": 0}),
            ("search", {"seed": 3}),
            ("search", {"name": "last_layers", "freeze": 2}),
            ("search", {"name": "last_layers", "freeze": 1}),
            ("search", {"name": "surgical", "shape": "FTFFFFFF"}),
            ("search", {"name": "surgical", "shape": "FTTFFFFF"}),
            ("survey", {"name": "truncate", "freeze": 3}),
        ]
    }
    assert len(names) == 11
    assert "block3 truncate_tuned lr 0.003 x 0.1 fold 1 seed 2 search" in names


def test_epochs_are_of_the_recommended_plan_and_the_controls_alone(
    facts: Callable[..., Facts],
) -> None:
    from tlsweep.stages.gather import trainings

    def trial(overrides: list[str], fold: int | None, epochs: int = 3) -> SimpleNamespace:
        history = [{"fit_loss": 1.0, "frozen_blocks": 0.0}] * epochs
        noted = {
            "overrides": overrides,
            "history": history,
            "facts": facts(fold=fold, seed=100).as_json(),
        }
        return SimpleNamespace(user_attrs=noted)

    def row(overrides: list[str], *controls: str) -> SimpleNamespace:
        return SimpleNamespace(overrides=overrides, controls=list(controls))

    mine, scratch, other = ["plan=a", "train.lr=1"], ["plan=scratch"], ["plan=other"]
    verdict: Any = SimpleNamespace(
        measure=SimpleNamespace(things="images"),
        recommended=SimpleNamespace(overrides=mine),
        plans=[row(mine), row(scratch, "scratch"), row(other)],
    )
    final = [
        trial([*mine, "fold=null", "seed=100"], None),
        trial([*scratch, "fold=null", "seed=100"], None),
        trial([*other, "fold=null", "seed=100"], None),
        trial([*scratch, "fold=null", "seed=101"], None, epochs=1),  # a head at its optimum
    ]
    confirm = [trial([*mine, "fold=1", "seed=1"], 1)]
    ledgers: Any = {
        "final": SimpleNamespace(completed=lambda: final),
        "confirm": SimpleNamespace(completed=lambda: confirm),
    }
    found = [(t.label, t.recommended, t.held_out) for t in trainings(verdict, ledgers)]
    assert found == [
        ("recommended", True, False),
        ("from scratch", False, False),
        ("recommended", True, True),
    ]
