"""The fixed trials of a search leave room for the sampler."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsweep.fixed import inherited, thin


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(0, 60))
def test_thinned_lists_fit_the_budget_and_keep_order_and_elements(
    lengths: list[int], most: int
) -> None:
    grids = [[[f"{i}.{k}"] for k in range(n)] for i, n in enumerate(lengths)]
    kept = thin(grids, most)
    assert sum(map(len, kept)) <= most * 2 / 3
    for whole, part in zip(grids, kept, strict=True):
        places = [whole.index(element) for element in part]
        assert places == sorted(set(places))
    if sum(lengths) <= int(most * 2 / 3):
        assert kept == grids


def test_short_lists_stay_whole_and_long_ones_keep_both_ends() -> None:
    long, short = [[str(k)] for k in range(40)], [["scratch"], ["finetune"]]
    first, second = thin([long, short], 30)
    assert second == short
    assert len(first) == 18
    assert first[0] == ["0"]
    assert first[-1] == ["39"]


def test_a_trial_that_names_its_plan_takes_no_plan_of_the_command_line() -> None:
    plain = ["plan.keep=layer3", "+plan.x=1", "plan=finetune", "train.lr=1"]
    assert inherited(plain, ["plan=scratch"]) == ["train.lr=1"]
    assert inherited(plain, ["train.lr=2"]) == plain
