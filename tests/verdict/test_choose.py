"""Which plan is recommended, on the select split alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tlsweep.verdict import choose, differences_from


@dataclass(frozen=True)
class Plan:
    """A candidate."""

    name: str
    size: tuple[int, ...]
    select_hits: npt.NDArray[np.bool_]


def plan(name: str, size: int, hits: int, images: int = 200, replicates: int = 3) -> Plan:
    row = np.arange(images) < hits
    return Plan(name, (size, 0, size), np.tile(row, (replicates, 1)))


def test_best_takes_the_highest_accuracy_however_large() -> None:
    plans = [plan("small", 1, 190), plan("large", 8, 191)]
    assert choose(plans, "best").name == "large"


def test_smallest_not_worse_takes_the_small_one_where_the_difference_is_not_shown() -> None:
    plans = [plan("small", 1, 190), plan("large", 8, 191)]
    assert choose(plans, "smallest_not_worse").name == "small"


def test_smallest_not_worse_takes_no_plan_that_is_shown_to_be_worse() -> None:
    plans = [plan("small", 1, 150), plan("middle", 4, 190), plan("large", 8, 191)]
    assert choose(plans, "smallest_not_worse").name == "middle"


@pytest.mark.parametrize("rule", ["best", "smallest_not_worse"])
def test_of_equal_scores_the_smaller_plan_is_taken_in_whatever_order_they_come(rule: str) -> None:
    plans = [plan("large", 8, 190), plan("small", 2, 190), plan("middle", 4, 190)]
    for order in (plans, plans[::-1]):
        assert choose(order, rule).name == "small"  # type: ignore[arg-type]


def test_of_equal_sizes_the_better_score_is_taken() -> None:
    plans = [plan("a", 2, 189), plan("b", 2, 190)]
    assert choose(plans, "smallest_not_worse").name == "b"


@pytest.mark.parametrize("rule", ["best", "smallest_not_worse"])
def test_a_single_candidate_is_taken_even_if_it_never_hits(rule: str) -> None:
    assert choose([plan("only", 3, 0)], rule).name == "only"  # type: ignore[arg-type]


def test_without_a_candidate_there_is_no_choice() -> None:
    with pytest.raises(ValueError, match="no candidate"):
        choose([], "best")


@st.composite
def candidates(draw: st.DrawFn) -> list[Plan]:
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    images = draw(st.integers(2, 60))
    easy = rng.random(images)
    return [
        Plan(
            str(i),
            tuple(draw(st.lists(st.integers(0, 4), min_size=3, max_size=3))),
            rng.random((draw(st.integers(1, 3)), images)) < easy * draw(st.floats(0.5, 2)),
        )
        for i in range(draw(st.integers(1, 6)))
    ]


@given(candidates(), st.sampled_from([0.8, 0.95]))
def test_the_chosen_is_never_shown_to_be_worse_and_no_smaller_one_qualifies(
    plans: list[Plan], confidence: float
) -> None:
    chosen = choose(plans, "smallest_not_worse", confidence)
    best = choose(plans, "best", confidence)
    assert all(best.select_hits.mean() >= p.select_hits.mean() for p in plans)

    tables = [p.select_hits for p in plans]
    intervals = differences_from(best.select_hits, tables, confidence)
    beaten = [p.name for p, d in zip(plans, intervals, strict=True) if p is not best and d.low > 0]
    assert chosen.name not in beaten
    assert all(p.name in beaten for p in plans if p.size < chosen.size)


@given(candidates())
def test_a_laxer_interval_never_recommends_a_larger_plan(plans: list[Plan]) -> None:
    wide = choose(plans, "smallest_not_worse", 0.99)
    assert wide.size <= choose(plans, "smallest_not_worse", 0.8).size


def lost_accuracy(rule: str, seed_sd: float, studies: int = 100) -> float:
    """Accuracy that a rule gives up against the best plan, on average over simulated studies."""
    rng = np.random.default_rng(0)
    true = [0.72, 0.84, 0.90, 0.93, 0.95, 0.96, 0.96, 0.95, 0.93]
    spread, lost = np.sqrt(2 + seed_sd**2), []
    for _ in range(studies):
        easy = rng.normal(0, 1, 359)
        plans = []
        for i, accuracy in enumerate(true):
            seeds = rng.normal(0, seed_sd, (3, 1))
            latent = stats.norm.ppf(accuracy) * spread + seeds + easy + rng.normal(0, 1, (3, 359))
            plans.append(Plan(str(i), (i, 0, i), latent > 0))
        chosen = choose(plans, rule)  # type: ignore[arg-type]
        lost.append(max(true) - true[int(chosen.name)])
    return float(np.mean(lost))


@pytest.mark.parametrize(
    ("rule", "most"), [("smallest_not_worse", 0.02), ("one_standard_error", 0.008)]
)
def test_few_noisy_replicates_do_not_let_clearly_worse_plans_pass(rule: str, most: float) -> None:
    assert lost_accuracy(rule, seed_sd=0.1) < most
