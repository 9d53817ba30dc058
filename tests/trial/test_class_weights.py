"""Balanced class weights: what each plan's loss is weighted by, trained and fitted alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from tlsweep.config.settings import Settings
from tlsweep.errors import Fault, Refusal
from tlsweep.task import Classes, Labels
from tlsweep.terms import Split
from tlsweep.trial import question_of, resolve, train_plan
from tlsweep.trial.probe import fit_heads

Make = Callable[..., Settings]
BALANCED = "train.class_weights=balanced"
PENALTIES = [1e-3, 1e-2, 1e-1]


def rare(n: int = 200) -> tuple[Tensor, Tensor]:
    """Features of three classes that overlap, of 150, 40 and 10 examples."""
    draw = torch.Generator().manual_seed(0)
    y = (torch.arange(n) % 20).ge(15).int() + (torch.arange(n) % 20).ge(19).int()
    z = torch.randn(n, 6, generator=draw) + torch.nn.functional.one_hot(y.long(), 6)
    return z, y.long()


def objective(z: Tensor, y: Tensor, w_n: Tensor, weight: Tensor, bias: Tensor, p: float) -> float:
    outputs = z.double() @ weight.double() + bias.double()
    losses = torch.nn.functional.cross_entropy(outputs, y, reduction="none")
    return float((w_n * losses).mean() + p / 2 * weight.double().square().sum())


def test_weights_of_classes_are_scikit_learns_and_one_on_average() -> None:
    y = rare()[1].numpy()
    task = Classes(3).balanced(y)
    assert task.weights is not None
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=y)
    np.testing.assert_allclose(task.weights, wanted)
    assert task.example_weights(y).mean() == pytest.approx(1)
    assert Classes(4).balanced(y).weights[:3] == pytest.approx(wanted)  # one is not there
    assert Classes(3).weights is None


def test_the_loss_trained_on_is_the_weighted_mean() -> None:
    y = np.array([0, 0, 0, 1])
    outputs = torch.tensor([[2.0, 0], [0, 1], [1, 1], [1, 0]])
    losses = Classes(2).losses(outputs.numpy(), y)
    found = Classes(2).balanced(y).loss(outputs, torch.from_numpy(y))
    assert float(found) == pytest.approx((losses[:3].mean() + losses[3]) / 2, rel=1e-5)


def test_the_examples_with_a_label_count_as_much_as_those_without() -> None:
    y = np.array([[True, True], [False, True], [False, True], [False, True]])
    task = Labels(2).balanced(y)
    weights = task.example_weights(y)
    np.testing.assert_allclose(weights, [[2, 1], [2 / 3, 1], [2 / 3, 1], [2 / 3, 1]])
    outputs = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        outputs, torch.from_numpy(y).float(), reduction="none"
    )
    found = task.loss(outputs, torch.from_numpy(y))
    torch.testing.assert_close(found, (each * torch.from_numpy(weights).float()).mean())


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_fitted_head_reaches_the_optimum_of_scikit_learns_balanced_one(
    settings: Make, penalty: float
) -> None:
    """Of all examples, and of a subset, whose own counts it is weighted by."""
    z, y = rare()
    subsets = torch.ones(2, len(y), dtype=torch.bool)
    subsets[1, :80] = False
    (heads,) = fit_heads([z], y, Classes(3), settings(BALANCED).train, PENALTIES, subsets)
    for s, rows in enumerate(subsets):
        x, true = z[rows], y[rows]
        theirs = LogisticRegression(
            C=1 / (len(x) * penalty), class_weight="balanced", max_iter=10_000, tol=1e-9
        ).fit(x.double().numpy(), true.numpy())
        w_n = torch.from_numpy(Classes(3).balanced(true.numpy()).example_weights(true.numpy()))
        own = torch.from_numpy(theirs.coef_.T), torch.from_numpy(theirs.intercept_)
        place = 2 * PENALTIES.index(penalty) + s
        ours = objective(x, true, w_n, heads.weight[place], heads.bias[place], penalty)
        assert -1e-6 < ours - objective(x, true, w_n, *own, penalty) < 1e-4


@pytest.mark.parametrize("kind", ["logistic", "ridge"])
def test_fitted_heads_of_labels_equal_those_of_each_label_as_two_classes(
    settings: Make, kind: str
) -> None:
    z, y = rare()
    labels = torch.stack([y == 2, z[:, 0] > 0], 1)
    train = settings(BALANCED, f"train.probe={kind}").train
    (heads,) = fit_heads([z], labels, Labels(2), train, [0.01])
    for m in range(2):
        # a logit a label is half as far from 0 as two classes are apart: half their penalty
        p = 0.02 if kind == "logistic" else 0.01
        (alone,) = fit_heads([z], labels[:, m].long(), Classes(2), train, [p])
        logits = alone.logits(z)[0]
        wanted = logits[:, 1] - logits[:, 0] if kind == "logistic" else logits[:, 1]
        torch.testing.assert_close(heads.logits(z)[0, :, m], wanted, rtol=1e-2, atol=1e-2)


PLANS = [
    ("plan=truncate", "plan.keep=1"),
    ("plan=truncate", "plan.keep=1", "train.probe=ridge"),
    ("plan=truncate", "plan.keep=1", "train.head=mlp"),
    ("plan=truncate_tuned", "plan.keep=1"),
]


@pytest.mark.parametrize("plan", PLANS)
def test_they_act_in_every_kind_of_plan_and_are_part_of_the_trial(
    settings: Make, plan: tuple[str, ...]
) -> None:
    plain, balanced = resolve(settings(*plan)), resolve(settings(*plan, BALANCED))
    assert plain.digest != balanced.digest
    assert plain.task.weights is None
    counts = np.bincount(balanced.truth(Split.FIT), minlength=10)
    assert balanced.task.weights is not None
    np.testing.assert_allclose(balanced.task.weights, counts.sum() / (10 * counts))
    one, other = (train_plan(trial, None).logits[Split.SELECT] for trial in (plain, balanced))
    assert counts.min() < counts.max()  # the premise: the classes are not alike
    assert np.abs(one - other).max() > 1e-4


def test_numbers_are_refused_before_anything_is_fitted(settings: Make) -> None:
    with pytest.raises(Refusal) as caught:
        question_of(settings("target=glyph_angle", "source.image_size=32", BALANCED))
    assert caught.value.faults == (
        Fault(
            BALANCED,
            "the loss of classes or labels is weighted; numbers have no classes",
            "train.class_weights=none",
        ),
    )


class Own(Classes):
    """Of another package, say."""

    def loss(self, outputs_bo: Tensor, y_b: Tensor) -> Tensor:
        return outputs_bo.sum()


def test_a_task_with_a_loss_of_its_own_cannot_be_weighted() -> None:
    assert Classes(3).can_be_weighted
    assert Labels(3).can_be_weighted
    assert not Own(3).can_be_weighted
