"""The head "source": the source's own classifier answers the classes that it knows by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tlsweep import load_model
from tlsweep.config.settings import Settings
from tlsweep.cut import cut_points, ending, section
from tlsweep.errors import Fault, Refusal
from tlsweep.heads.source import unknown
from tlsweep.model.write import write_model
from tlsweep.terms import Split
from tlsweep.trial import describe, resolve, train_plan
from tlsweep.trial.train import scored_splits

Make = Callable[..., Settings]
KNOWN = ("tench", "cock", "goldfish")  # rows 0, 7 and 1 of ImageNet's classes
ROWS = [7, 1, 0]  # of the target's classes, which stand in the order of their names
STILL = ("train.lr=1e-12", "train.weight_decay=0", "train.epochs=1")
FROZEN = ("plan=feature_extractor", "train.head=source", "source.weights=IMAGENET1K_V1")


def folder(root: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Overrides for a folder of 20 images a class, of noise."""
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return "target=image_folder", f"target.root={root}", "target.fit_size=30"


@pytest.fixture
def asks(settings: Make, tmp_path: Path) -> Make:
    """Settings of a target with classes of the source."""
    known = folder(tmp_path / "known", KNOWN)
    return lambda *more: settings(*known, *FROZEN, *more)


def test_it_gives_the_sources_own_logits_for_the_targets_classes(asks: Make) -> None:
    trial = resolve(asks())
    question, network = trial.question, trial.question.network(trial.plan, trial.train, 0).eval()
    x = torch.stack([question.examples(Split.FIT)[i][0] for i in range(10)])
    with torch.no_grad():
        own = question.source.model()(x)
        torch.testing.assert_close(network(x), own[:, ROWS], rtol=1e-4, atol=1e-5)
    last = [p.shape for p in network.head.parameters()]
    assert last == [(3, 1024), (3,)]  # no row of another class
    assert describe(trial).trained_parameters == 3 * 1024 + 3


def test_training_starts_from_there_and_goes_on_as_that_of_any_head(asks: Make) -> None:
    trial = resolve(asks(*STILL))
    still = train_plan(trial, None).logits[Split.SELECT]
    rows = trial.question.partition.rows(Split.SELECT, trial.fold)
    data = trial.question.target.dataset(rows, trial.question.source.spec)
    with torch.no_grad():
        own = trial.question.source.model()(torch.stack([data[i][0] for i in range(len(rows))]))
    torch.testing.assert_close(torch.from_numpy(still), own[:, ROWS], rtol=1e-3, atol=1e-4)
    trained = train_plan(resolve(asks("train.epochs=3", "train.settle=false")), None)
    losses = [epoch["fit_loss"] for epoch in trained.history]
    assert losses[2] < losses[0]
    assert np.abs(trained.logits[Split.SELECT] - still).max() > 0.003


def test_all_blocks_may_be_trained_below_it(asks: Make) -> None:
    trained = train_plan(resolve(asks("plan=finetune")), None)
    assert len(trained.history) == 2
    assert trained.logits[Split.SELECT].shape[1] == 3


def test_the_model_taken_home_is_read_with_it(asks: Make, tmp_path: Path) -> None:
    trial = resolve(asks("keep_weights=true"))
    trained = train_plan(trial, None)
    assert trained.network is not None
    taken = load_model(write_model(tmp_path / "study", trial, trained.network, {}))
    (split,) = scored_splits(trial)
    rows = trial.question.partition.rows(split, trial.fold)
    data = trial.question.target.dataset(rows, trial.question.source.spec)
    with torch.no_grad():
        answered = taken(torch.stack([data[i][0] for i in range(len(rows))]))
    wanted = torch.from_numpy(trained.logits[split])
    torch.testing.assert_close(answered, wanted, rtol=1e-3, atol=1e-4)


def refused(settings: Settings) -> Fault:
    with pytest.raises(Refusal) as caught:
        resolve(settings)
    (fault,) = caught.value.faults
    assert fault.value == "train.head=source"
    return fault


def test_classes_that_the_source_has_not_by_one_name_are_named(
    settings: Make, tmp_path: Path
) -> None:
    unlike = folder(tmp_path / "unlike", ("tench", "my pet", "my own"))
    fault = refused(settings(*unlike, *FROZEN))
    assert fault.rule == (
        "each of the target's 3 classes is one of the 1000 of shufflenet_v2_x0_5, by the same name;"
        " not so: my own, my pet"
    )
    assert fault.mend == "train.head=linear"


def test_a_name_that_two_outputs_have_stands_for_neither() -> None:
    assert unknown(("a", "crane", "b", "crane"), ("b", "crane", "c")) == ["crane", "c"]


def test_a_source_that_does_not_name_its_classes_is_refused(settings: Make) -> None:
    fault = refused(settings("plan=feature_extractor", "train.head=source"))
    assert fault.rule == (
        "a source says what its own classes are called; shufflenet_v2_x0_5 does not"
    )


@pytest.mark.parametrize(
    "plan",
    [
        ("plan=truncate", "plan.keep=3"),
        ("plan=scratch",),
        ("plan=random_features", "plan.keep=all"),
        ("plan=transfer", "plan.keep=3"),
    ],
)
def test_a_plan_that_does_not_keep_all_blocks_is_refused(asks: Make, plan: tuple[str, ...]) -> None:
    fault = refused(asks(*plan))
    assert fault.rule == (
        "the source's own classifier reads what all of its blocks make: all are kept"
    )
    assert fault.mend.startswith("plan=feature_extractor or plan=finetune")


def test_targets_of_another_kind_are_refused(settings: Make) -> None:
    fault = refused(settings(*FROZEN, "target=glyph_angle"))
    assert fault.rule.startswith("the source's own classifier names classes; ")
    assert fault.rule.endswith(" has numbers")


class Averaged(torch.nn.Module):
    """Two classifiers, of which the mean answers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        self.one, self.other = torch.nn.Linear(4, 5), torch.nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.body(x).mean((2, 3))
        return (self.one(z) + self.other(z)) / 2


def test_a_classifier_without_one_last_layer_cannot_be_taken_apart() -> None:
    model, example = Averaged().eval(), torch.zeros(2, 3, 8, 8)
    cuts = cut_points(model, example)
    assert ending(model, cuts, [0, 1, 2]) is None


@pytest.mark.parametrize(
    "name",
    [
        "squeezenet1_1",
        "mobilenet_v3_small",
        "vgg11",
        pytest.param("vit_b_16", marks=pytest.mark.slow),
    ],
)
def test_the_ending_of_a_network_of_the_zoo_answers_its_rows(name: str) -> None:
    from torchvision.models import get_model

    size = {"vit_b_16": 224, "vgg11": 64}.get(name, 64)
    torch.manual_seed(0)
    model, x = get_model(name, weights=None, num_classes=11).eval(), torch.randn(2, 3, size, size)
    cuts, rows = cut_points(model, x), [9, 0, 4]
    part = ending(model, cuts, rows)
    assert part is not None
    with torch.no_grad():
        z = section(model, cuts, 0, cuts.n_blocks)(x)
        torch.testing.assert_close(part(z), model(x)[:, rows], rtol=1e-4, atol=1e-5)
