"""A head's penalty is chosen without the examples that it is scored on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsweep.verdict import nested_penalty

PENALTIES = (0.1, 1.0, 10.0)


def test_each_fold_is_scored_at_the_penalty_that_the_other_folds_chose() -> None:
    fold_n = np.array([0, 0, 1, 1, 2, 2])
    losses = np.array(
        [
            [0.0, 0.0, 2.0, 2.0, 2.0, 2.0],  # best on fold 0 alone
            [3.0, 3.0, 1.0, 1.0, 1.0, 1.0],
            [9.0, 9.0, 9.0, 9.0, 9.0, 9.0],
        ]
    )
    scores = np.array([[0.1] * 6, [0.2] * 6, [0.3] * 6])
    found = nested_penalty(PENALTIES, scores, losses, fold_n)
    # fold 0 is judged by folds 1 and 2; folds 1 and 2 by fold 0 and the other
    assert found.chosen == (1.0, 0.1, 0.1)
    assert found.scores_n.tolist() == [0.2, 0.2, 0.1, 0.1, 0.1, 0.1]
    assert found.losses_n.tolist() == [3.0, 3.0, 2.0, 2.0, 2.0, 2.0]
    assert found.overall == 0.1  # mean 8/6 against 10/6
    assert found.edge


def test_of_equal_losses_the_largest_penalty_is_taken() -> None:
    table = np.ones((3, 4))
    found = nested_penalty(PENALTIES, table, table, np.array([0, 1, 0, 1]))
    assert found.chosen == (10.0, 10.0)
    assert found.overall == 10.0


def test_one_holdout_is_halved() -> None:
    losses = np.array([[0.0, 5.0] * 4, [1.0, 1.0] * 4, [7.0, 0.0] * 4])
    found = nested_penalty(PENALTIES, losses, losses, np.zeros(8, dtype=int))
    assert found.chosen == (10.0, 0.1)  # the even ones by the odd ones, and the other way round
    assert found.overall == 1.0
    assert not found.edge


def test_choosing_on_the_same_scores_would_flatter_and_nested_does_not() -> None:
    rng = np.random.default_rng(0)
    flattered, nested = [], []
    for _ in range(200):
        right = (rng.random((9, 100)) < 0.8).astype(float)  # penalties that make no difference
        fold_n = np.arange(100) % 5
        found = nested_penalty([10.0**i for i in range(9)], right, 1 - right, fold_n)
        nested.append(found.scores_n.mean())
        flattered.append(right.mean(1).max())
    assert np.mean(flattered) > 0.84
    assert np.mean(nested) < 0.805


@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(1, 4))
def test_an_example_never_changes_the_penalty_it_is_scored_at(
    seed: int, folds: int, penalties: int
) -> None:
    rng = np.random.default_rng(seed)
    losses, fold_n = rng.random((penalties, 30)), np.arange(30) % folds
    values = [float(i + 1) for i in range(penalties)]
    before = nested_penalty(values, losses, losses, fold_n)
    losses[:, fold_n == 0] = rng.random((penalties, int((fold_n == 0).sum()))) * 10
    assert nested_penalty(values, losses, losses, fold_n).chosen[0] == before.chosen[0]


@pytest.mark.parametrize(("shape", "n"), [((2, 4), 4), ((3, 4), 5), ((3, 1), 1)])
def test_tables_that_do_not_fit_are_refused(shape: tuple[int, int], n: int) -> None:
    with pytest.raises(ValueError, match="penalties, examples"):
        nested_penalty(PENALTIES, np.ones(shape), np.ones(shape), np.zeros(n, dtype=int))
