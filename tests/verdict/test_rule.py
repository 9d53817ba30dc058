"""Which plan is recommended, on the select split alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsweep.verdict import choose, difference_interval


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

    def beaten(p: Plan) -> bool:
        return (
            p is not best
            and difference_interval(best.select_hits, p.select_hits, confidence).low > 0
        )

    assert not beaten(chosen)
    assert all(beaten(p) for p in plans if p.size < chosen.size)


@given(candidates())
def test_a_laxer_interval_never_recommends_a_larger_plan(plans: list[Plan]) -> None:
    wide = choose(plans, "smallest_not_worse", 0.99)
    assert wide.size <= choose(plans, "smallest_not_worse", 0.8).size
