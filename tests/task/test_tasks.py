"""A task's loss, decision, strata: alike for training and for what is kept of a trial."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from answers import drawn
from torch.nn import functional

from tlsweep.task import Classes, Labels, Numbers


def test_a_guess_has_the_loss_of_a_guess() -> None:
    y = np.arange(30) % 3
    assert Classes(3).guess == pytest.approx(
        Classes(3).losses(np.zeros((30, 3), np.float32), y).mean()
    )
    truth = np.arange(40).reshape(20, 2) % 3 == 0
    labels = Labels(2)
    assert labels.guess == pytest.approx(labels.losses(np.zeros((20, 2), np.float32), truth).mean())
    numbers = np.random.default_rng(0).normal(30, 4, (100, 1))
    task = Numbers(1, spread=float(numbers.std()))
    mean = np.full((100, 1), numbers.mean(), np.float32)
    assert task.guess == pytest.approx(task.losses(mean, numbers).mean())


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_losses_are_those_of_torch_example_by_example(scale: float) -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, scale, (50, 4)).astype(np.float32), rng.integers(0, 4, 50)
    wide = torch.from_numpy(z).double()
    wanted = functional.cross_entropy(wide, torch.from_numpy(y), reduction="none")
    assert np.allclose(Classes(4).losses(z, y), wanted.numpy(), rtol=1e-12)
    holds = rng.random((50, 4)) < 0.3
    each = functional.binary_cross_entropy_with_logits(
        wide, torch.from_numpy(holds).double(), reduction="none"
    )
    assert np.allclose(Labels(4).losses(z, holds), each.mean(1).numpy(), rtol=1e-12)


def test_without_looking_the_answer_is_the_most_frequent_class_the_odds_or_the_mean() -> None:
    assert Classes(3).decide(Classes(3).blind(np.array([0, 2, 2]))).tolist() == [2]
    y = np.array([[True, False], [True, True], [True, False]])
    assert Labels(2).decide(Labels(2).blind(y)).tolist() == [[True, False]]
    assert Numbers(1, spread=1.0).blind(np.array([[1.0], [4.0]])).tolist() == [[2.5]]


def test_decisions_are_of_the_kind_of_the_truth() -> None:
    assert Classes(3).decide(np.float32([[0, 2, 2]])).tolist() == [1]
    assert Labels(2).decide(np.float32([[1, -1]])).tolist() == [[True, False]]
    task, outputs, _ = drawn("numbers", 4)
    assert task.decide(outputs) is outputs


def test_what_is_true_is_told_in_words() -> None:
    names = ("ant", "bee")
    assert Classes(2).spelled(np.int64(1), names) == "bee"
    assert Labels(2).spelled(np.array([True, True]), names) == "ant, bee"
    assert Labels(2).spelled(np.array([False, False]), names) == "none"
    one = Numbers(1, spread=5.0, unit="mm")
    assert one.spelled(np.array([3.21]), ("length",)) == "3.21 mm"
    assert Numbers(2, spread=5.0).spelled(np.array([3.0, 4.0]), ("x", "y")) == "x 3.00, y 4.00"


def test_classes_are_their_own_strata() -> None:
    assert Classes(3).strata(np.array([2, 0, 1])).tolist() == [2, 0, 1]


def test_an_example_is_in_the_stratum_of_its_rarest_label() -> None:
    y = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 1, 0]], dtype=bool)
    assert Labels(3).strata(y).tolist() == [0, 1, 2, 3, 1]


def test_strata_of_numbers_are_of_equal_size_and_in_their_order() -> None:
    y = np.random.default_rng(0).normal(size=(103, 1))
    strata = Numbers(1, spread=1.0).strata(y)
    assert set(np.bincount(strata)) <= {10, 11}
    assert (np.diff(strata[np.argsort(y[:, 0])]) >= 0).all()
    assert Numbers(1, spread=1.0).strata(y[:4]).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("spread", [0.0, -1.0, float("nan"), float("inf")])
def test_numbers_that_do_not_vary_are_no_task(spread: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Numbers(1, spread=spread)


@pytest.mark.parametrize(("spread", "text"), [(12.0, "3.1"), (0.02, "3.1416"), (4000.0, "3")])
def test_numbers_are_written_with_the_digits_that_their_spread_makes_worth_reading(
    spread: float, text: str
) -> None:
    assert Numbers(1, spread=spread).metric.unit.written(3.14159) == text


def test_numbers_scaled_to_others_are_counted_in_what_those_vary_by() -> None:
    """A score and a loss are in spreads; a metric's value and what it is chosen by stay."""
    task = Numbers(1, spread=100.0, unit="mm", metric="rmse").of("texts")
    y, said = np.array([[1.0], [3.0], [5.0]]), np.float32([[1], [3], [8]])
    own = task.scaled_to(np.array([[0.0], [4.0]]))
    assert (own.spread, task.spread) == (2.0, 100.0)
    assert own.losses(said, y).tolist() == [0.0, 0.0, 9 / 8]
    assert own.measure.scale == 2.0
    assert (own.measure.name, own.things) == ("rmse", "texts")
    assert own.score(said, y) == task.score(said, y) == pytest.approx(np.sqrt(3))
    assert own.measure.unit.written(1.0) == "1.00 mm"
    with pytest.raises(ValueError, match="spread 0"):
        task.scaled_to(np.ones((4, 1)))
