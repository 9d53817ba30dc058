"""The laws of a transfer plan, for every plan there is."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsweep.errors import Fault, Refusal
from tlsweep.plan import TransferPlan, as_written, monotone, runs_of, spelled
from tlsweep.terms import BlockState

ORDER = (BlockState.FROZEN, BlockState.TUNED, BlockState.FRESH, BlockState.DROPPED)


@st.composite
def plans(draw: st.DrawFn) -> TransferPlan:
    n = draw(st.integers(0, 40))
    freeze, keep, regrow = sorted(draw(st.lists(st.integers(0, n), min_size=3, max_size=3)))
    return monotone(freeze, keep, regrow, n, random_weights=draw(st.booleans()))


@given(plans())
def test_states_go_frozen_tuned_fresh_dropped_and_never_back(plan: TransferPlan) -> None:
    ranks = [ORDER.index(state) for state in plan.states]
    assert ranks == sorted(ranks)


@given(plans())
def test_as_many_blocks_are_in_each_state_as_lie_between_its_cut_points(
    plan: TransferPlan,
) -> None:
    assert [plan.states.count(state) for state in ORDER] == [
        plan.freeze,
        plan.keep - plan.freeze,
        plan.regrow - plan.keep,
        plan.n_blocks - plan.regrow,
    ]
    assert len(plan.states) == plan.n_blocks


@given(plans())
def test_kept_fraction_is_the_share_of_blocks_that_hold_the_sources_weights(
    plan: TransferPlan,
) -> None:
    if plan.random_weights:
        assert plan.kept_fraction == 0
    else:
        kept = [s in (BlockState.FROZEN, BlockState.TUNED) for s in plan.states]
        assert plan.kept_fraction == (sum(kept) / len(kept) if kept else 0)


@given(plans())
def test_a_plan_lies_on_the_tuned_curve_exactly_if_a_kept_block_is_trained(
    plan: TransferPlan,
) -> None:
    assert (plan.trained_state == BlockState.TUNED) == (BlockState.TUNED in plan.states)


index = st.integers(-3, 12)


@given(index, index, index, st.integers(0, 9))
def test_a_plan_is_refused_exactly_if_its_points_are_out_of_order_or_range_with_every_fault(
    freeze: int, keep: int, regrow: int, n: int
) -> None:
    broken = {
        name: not 0 <= value <= n
        for name, value in (("freeze", freeze), ("keep", keep), ("regrow", regrow))
    }
    expected = [f"plan.freeze={freeze} with plan.keep={keep}"] if freeze > keep else []
    expected += [f"plan.keep={keep} with plan.regrow={regrow}"] if keep > regrow else []
    values = {"freeze": freeze, "keep": keep, "regrow": regrow}
    expected += [f"plan.{name}={values[name]}" for name in broken if broken[name]]
    if not expected:
        assert monotone(freeze, keep, regrow, n).regrow == regrow
        return
    with pytest.raises(Refusal) as caught:
        monotone(freeze, keep, regrow, n)
    assert [fault.value for fault in caught.value.faults] == expected


def test_the_refusals_say_rule_and_mend() -> None:
    with pytest.raises(Refusal) as caught:
        monotone(3, 2, 9, 8)
    assert caught.value.faults == (
        Fault(
            "plan.freeze=3 with plan.keep=2",
            "only kept blocks can be frozen: freeze <= keep",
            "plan.freeze=2, or a later plan.keep",
        ),
        Fault("plan.regrow=9", "a cut point lies between 0 and 8", "plan.regrow=8"),
    )
    with pytest.raises(Refusal) as caught:
        monotone(0, 5, 4, 8)
    assert str(caught.value) == (
        "plan.keep=5 with plan.regrow=4\n"
        "    rule: fresh blocks start where the kept ones end: keep <= regrow\n"
        "    mend: plan.regrow=5, or an earlier plan.keep"
    )


@st.composite
def any_states(draw: st.DrawFn) -> TransferPlan:
    states = draw(st.lists(st.sampled_from(list(BlockState)), max_size=12))
    return TransferPlan(tuple(states), random_weights=draw(st.booleans()))


@given(any_states())
def test_nothing_is_trained_before_freeze_kept_behind_keep_or_in_use_behind_regrow(
    plan: TransferPlan,
) -> None:
    learning = (BlockState.ADAPTED, BlockState.TUNED, BlockState.FRESH)
    assert not any(state in learning for state in plan.states[: plan.freeze])
    assert not any(i >= plan.keep for i in plan.kept)
    assert all(state == BlockState.DROPPED for state in plan.states[plan.regrow :])
    assert plan.freeze == plan.regrow or plan.states[plan.freeze] in learning
    assert plan.keep == 0 or plan.keep - 1 in plan.kept
    assert plan.regrow == 0 or plan.states[plan.regrow - 1] != BlockState.DROPPED
    assert all(i < plan.regrow and plan.states[i] == BlockState.DROPPED for i in plan.left_out)


@given(any_states())
def test_a_plan_is_monotone_exactly_if_its_three_cut_points_give_it_back(
    plan: TransferPlan,
) -> None:
    if plan.is_monotone:
        again = monotone(plan.freeze, plan.keep, plan.regrow, plan.n_blocks)
        # where nothing is frozen above fresh blocks, the three points are those of the states
        assert again.states == plan.states
    else:
        assert spelled(plan, NAMES) or BlockState.FRESH in plan.states


@given(any_states())
def test_the_frozen_plan_keeps_the_same_blocks_and_trains_none(plan: TransferPlan) -> None:
    frozen = plan.frozen()
    assert frozen.kept == plan.kept
    assert not frozen.trained


NAMES = [f"block{i}" for i in range(1, 13)]


def test_a_plans_regions_are_spelled_as_they_are_written() -> None:
    f, t, d = BlockState.FROZEN, BlockState.TUNED, BlockState.DROPPED
    assert spelled(TransferPlan((f, t, t, f, t)), NAMES) == {"tuned": "block2..block3, block5"}
    assert spelled(TransferPlan((t, d, t, d)), NAMES) == {
        "tuned": "block1, block3",
        "dropped": "block2",
    }
    assert spelled(TransferPlan((f, t, t, d)), NAMES) == {}


@given(st.sets(st.integers(0, 12)))
def test_runs_of_blocks_hold_just_these_blocks_and_touch_nowhere(blocks: set[int]) -> None:
    runs = runs_of(blocks)
    assert [i for first, last in runs for i in range(first, last + 1)] == sorted(blocks)
    assert all(last + 1 < first for (_, last), (first, _) in pairwise(runs))


def test_blocks_are_written_as_a_region_of_a_command_line() -> None:
    names = [f"block{i}" for i in range(1, 7)]
    assert as_written({0, 1, 2}, names) == "block1..block3"
    assert as_written({0, 3, 4}, names) == "[block1,block4..block5]"
    assert as_written(set(), names) == "none"
