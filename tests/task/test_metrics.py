"""Each metric is the mean of its examples' scores, and is what the libraries say that it is."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from answers import KINDS, drawn

from tlsweep.errors import Refusal
from tlsweep.task import Classes, Labels, Numbers


def test_metrics_of_classes_are_scikit_learns() -> None:
    task, outputs, y = drawn("classes", 200)
    said, found = outputs.argmax(1), {m.name: m.value(outputs, y) for m in task.metrics}
    odds = np.exp(outputs.astype(float))
    odds /= odds.sum(1, keepdims=True)
    assert found == {
        "accuracy": pytest.approx(sk.accuracy_score(y, said)),
        "balanced_accuracy": pytest.approx(sk.balanced_accuracy_score(y, said)),
        "macro_f1": pytest.approx(sk.f1_score(y, said, average="macro"), rel=1e-6),
        "log_loss": pytest.approx(sk.log_loss(y, odds, labels=range(12))),
        "top5": pytest.approx(sk.top_k_accuracy_score(y, outputs, k=5, labels=range(12))),
    }


def test_metrics_of_labels_are_scikit_learns() -> None:
    task, outputs, y = drawn("labels", 200)
    assert {m.name: m.value(outputs, y) for m in task.metrics} == {
        "example_f1": pytest.approx(
            sk.f1_score(y, outputs > 0, average="samples", zero_division=1.0)
        ),
        "mean_average_precision": pytest.approx(sk.average_precision_score(y, outputs), rel=1e-6),
    }


def test_metrics_of_numbers_are_scikit_learns_in_their_own_unit() -> None:
    task, said, y = drawn("two numbers", 200)
    assert {m.name: m.value(said, y) for m in task.metrics} == {
        "mae": pytest.approx(sk.mean_absolute_error(y, said)),
        "rmse": pytest.approx(np.sqrt(sk.mean_squared_error(y, said))),
        "r2": pytest.approx(sk.r2_score(y, said)),
    }
    assert task.metric.unit.written(4.0) == "4.0 degrees"
    assert task.metric.unit.difference(-0.25) == "-0.2 degrees"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_told_beside_a_score_are_the_other_metrics(kind: str) -> None:
    task, outputs, y = drawn(kind, 50)
    beside = task.beside(outputs, y)
    assert [one.name for one in beside] == [m.name for m in task.metrics[1:]]
    assert beside[0].value == task.metrics[1].value(outputs, y)
    assert beside[0].written == task.metrics[1].unit.written(beside[0].value)
    by_other = task.by(beside[0].name)
    assert task.metric.name in [one.name for one in by_other.beside(outputs, y)]


def test_the_variance_of_pseudo_values_is_that_of_the_metric() -> None:
    """R2 over many draws of 300 examples varies as one draw's pseudo-values say."""
    rng = np.random.default_rng(0)
    task = Numbers(1, spread=1.0, metric="r2")
    found, said = [], []
    for _ in range(400):
        y = rng.normal(size=(300, 1))
        outputs = (y + rng.normal(0, 0.5, (300, 1))).astype(np.float32)
        found.append(task.score(outputs, y))
        said.append(task.example_scores(outputs, y).var(ddof=1) / 300)
    assert np.mean(said) == pytest.approx(np.var(found), rel=0.15)


@pytest.mark.parametrize(
    ("kind", "metric"), [("classes", "macro_f1"), ("labels", "mean_average_precision")]
)
def test_of_very_many_examples_scores_still_have_the_metric_as_their_mean(
    kind: str, metric: str
) -> None:
    """Pseudo-values are differences of what is multiplied by n: no rounding may be."""
    task, outputs, y = drawn(kind, 60_000)
    task = task.by(metric)
    mean = task.example_scores(outputs, y).mean()
    assert mean == pytest.approx(task.score(outputs, y), abs=1e-4)


def test_a_metric_is_chosen_by_name_and_an_unknown_one_is_refused_with_the_nearest() -> None:
    assert Classes(3).metric.name == "accuracy"
    assert Classes(3, "macro_f1").metric.words == "macro F1"
    assert [m.name for m in Classes(9).metrics] == [m.name for m in Classes(10).metrics][:4]
    with pytest.raises(Refusal, match=r"target\.metric=top5"):
        Classes(9, "top5")
    with pytest.raises(Refusal, match=r"target\.metric=example_f1"):
        Labels(3, "example_f2")
