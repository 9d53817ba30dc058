"""Shifted examples: one half chooses a plan, the other half judges it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from tlsweep.task import Classes
from tlsweep.verdict import ShiftedScores, Told, Tried, shifted_answers

Plan = Callable[..., Tried]
EASE = np.random.default_rng(0).random((2, 20_000)).mean(0)  # of an image, to one plan
TOLD = Told(Classes(10).of("images").measure)


@pytest.fixture
def plans(plan: Plan) -> list[Tried]:
    """The recommended plan, and three frozen ones at lower cut points."""
    return [plan(0.9, 0.9, keep=keep, flops=keep) for keep in (5, 1, 2, 3)]


def scored(
    plans: Sequence[Tried], shares: Sequence[float], n: int, seed: int, versions: int = 3
) -> ShiftedScores:
    """Each plan right on its own share of images, at random; images are hard for all alike."""
    rng = np.random.default_rng(seed)
    hard_n = rng.random(n)
    tables = []
    for share in shares:
        own = 0.5 * hard_n + 0.5 * rng.random((versions, n))
        tables.append((own < np.quantile(EASE, share)).astype(float))
    names = tuple(f"noise {k}" for k in range(1, 1 + versions))
    chooses = rng.permutation(n) < n // 2
    pairs = list(zip(plans, tables, strict=True))
    return ShiftedScores("noise", names, chooses, tables[0].copy(), pairs, of_report=True)


def alike(plans: Sequence[Tried], n: int) -> dict[int, npt.NDArray[np.float64]]:
    """The report split: all plans right on the same images."""
    return {id(one.evidence): (np.arange(n) % 10 < 9).astype(float) for one in plans}


def test_a_plan_that_is_far_better_there_is_found_and_said_with_its_gain(
    plans: list[Tried],
) -> None:
    (found,) = shifted_answers(
        [scored(plans, [0.5, 0.5, 0.8, 0.6], 600, 0)], TOLD, alike(plans, 600)
    )
    assert found.better
    assert found.overrides == list(plans[2].overrides)
    assert found.gain.low < 0.3 < found.gain.high
    assert found.excess.score == pytest.approx(found.gain.score)
    assert found.recommended.score == pytest.approx(0.5, abs=0.05)
    assert found.other.score == pytest.approx(0.8, abs=0.05)
    assert (found.examples, found.judged) == (600, 300)
    assert [one.name for one in found.versions] == ["noise 1", "noise 2", "noise 3"]
    assert [p.index for p in found.curve] == [1, 2, 3, 5]


def test_no_example_that_chose_is_quoted(plans: list[Tried]) -> None:
    one = scored(plans, [0.5, 0.5, 0.9, 0.6], 400, 1)
    (before,) = shifted_answers([one], TOLD, alike(plans, 400))
    for _, table in one.plans:  # all plans lose the same: the choice stays
        table[:, one.chooses_n] = np.where(
            np.arange(one.chooses_n.sum()) % 2, 0.0, table[:, one.chooses_n]
        )
    (after,) = shifted_answers([one], TOLD, alike(plans, 400))
    assert (before.other, before.gain, before.excess) == (after.other, after.gain, after.excess)
    assert before.curve != after.curve  # these are of all examples


def test_where_all_are_equal_another_plan_is_called_better_in_few_sweeps(
    plans: list[Tried],
) -> None:
    sweeps = 150
    wrong = 0
    for seed in range(sweeps):
        five = [scored(plans, [0.6] * 4, 120, 5 * seed + k) for k in range(5)]
        wrong += any(one.better for one in shifted_answers(five, TOLD, alike(plans, 120)))
    # each shift errs above at 0.5 %: of a sweep's five at most 2.5 %, and its own luck
    assert wrong <= 0.05 * sweeps


@pytest.mark.parametrize("of_report", [True, False])
def test_a_plan_that_is_as_much_better_without_a_shift_is_not_called_better_there(
    plans: list[Tried], of_report: bool
) -> None:
    one = replace(scored(plans, [0.6, 0.5, 0.8, 0.6], 600, 4), of_report=of_report)
    report = {id(tried.evidence): table.mean(0) for tried, table in one.plans}
    (found,) = shifted_answers([one], TOLD, report)
    assert found.overrides == list(plans[2].overrides)
    assert found.gain.low > 0.1
    assert found.excess.score == pytest.approx(0, abs=0.03)
    assert not found.better
    (shifted,) = shifted_answers([one], TOLD, alike(plans, 600))
    assert shifted.better


def test_the_recommended_plan_that_stays_best_has_no_gain(plans: list[Tried]) -> None:
    (found,) = shifted_answers(
        [scored(plans, [0.9, 0.5, 0.5, 0.5], 200, 3)], TOLD, alike(plans, 200)
    )
    assert not found.better
    assert found.overrides == list(plans[0].overrides)
    assert found.gain.score == 0.0


def test_a_single_example_judges_nothing(plans: list[Tried]) -> None:
    (found,) = shifted_answers(
        [scored(plans, [0.0, 0.99, 0.99, 0.99], 1, 0)], TOLD, alike(plans, 1)
    )
    assert not found.better
