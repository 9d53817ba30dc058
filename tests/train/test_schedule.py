"""Freeze schedules as pure data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsweep.plan import TransferPlan, monotone
from tlsweep.schedule.base import Ending, FreezeSchedule, PhaseClock
from tlsweep.schedule.constant import constant
from tlsweep.schedule.gradual import End, gradual
from tlsweep.schedule.phases import listed
from tlsweep.schedule.two_phase import two_phase
from tlsweep.terms import BlockState


@st.composite
def plans(draw: st.DrawFn) -> TransferPlan:
    """Any states at all, in any order."""
    states = draw(st.lists(st.sampled_from(list(BlockState)), max_size=8))
    return TransferPlan(tuple(states), random_weights=draw(st.booleans()))


@given(plans())
def test_every_schedule_ends_with_all_that_the_plan_trains_and_only_thaws(
    plan: TransferPlan,
) -> None:
    fresh = set(plan.blocks(BlockState.FRESH))
    kinds = (
        constant(plan), two_phase(plan, Ending()), gradual(plan, Ending()),
        gradual(plan, Ending(), "bottom"),
    )  # fmt: skip
    for schedule in kinds:
        assert schedule.thawed[-1] == plan.trained
        assert all(a < b for a, b in zip(schedule.thawed, schedule.thawed[1:], strict=False))
        assert fresh <= schedule.thawed[0]  # what is new is trained from the first step on
    assert all(schedule.thawed[0] == fresh for schedule in kinds[1:])


def test_gradual_thaws_one_block_a_phase_from_the_top_or_from_the_bottom() -> None:
    plan = monotone(1, 4, 5, 5)
    down, up = gradual(plan, Ending()), gradual(plan, Ending(), "bottom")
    assert [sorted(blocks) for blocks in down.thawed] == [[4], [3, 4], [2, 3, 4], [1, 2, 3, 4]]
    assert [sorted(blocks) for blocks in up.thawed] == [[4], [1, 4], [1, 2, 4], [1, 2, 3, 4]]


@pytest.mark.parametrize("begin", ["top", "bottom"])
@given(plans(), st.frozensets(st.integers(0, 7)))
def test_no_phase_is_spent_on_a_block_without_parameters(
    begin: End, plan: TransferPlan, empty: frozenset[int]
) -> None:
    schedule = gradual(plan, Ending(), begin, empty)
    assert schedule.thawed[-1] == plan.trained
    for before, after in zip(schedule.thawed, schedule.thawed[1:], strict=False):
        assert len(after - before - empty) == 1


@given(plans(), st.frozensets(st.integers(0, 7)))
def test_a_second_phase_that_would_thaw_nothing_is_none(
    plan: TransferPlan, empty: frozenset[int]
) -> None:
    schedule = two_phase(plan, Ending(), empty)
    fresh = set(plan.blocks(BlockState.FRESH))
    assert schedule.thawed[-1] == plan.trained
    assert len(schedule.thawed) == (2 if plan.trained - fresh - empty else 1)


def test_listed_phases_thaw_their_blocks_beside_the_new_layers_and_end_with_the_plan() -> None:
    plan = monotone(1, 4, 5, 5)
    found = listed(plan, [[], [3], [2, 3]], Ending())
    assert [sorted(b) for b in found.thawed] == [[4], [3, 4], [2, 3, 4], [1, 2, 3, 4]]
    no_phase_for_2 = listed(plan, [[], [3], [2, 3]], Ending(), empty={2})
    assert [sorted(b) for b in no_phase_for_2.thawed] == [[4], [3, 4], [1, 2, 3, 4]]
    with pytest.raises(ValueError, match="the plan trains"):
        listed(plan, [[0]], Ending())
    with pytest.raises(ValueError, match="thaws more"):
        listed(plan, [[3], [2]], Ending())


def test_a_schedule_that_freezes_again_is_refused() -> None:
    with pytest.raises(ValueError, match="thaws more"):
        FreezeSchedule((frozenset({1, 2}), frozenset({1})))


DOWN = (frozenset[int](), frozenset({2}), frozenset({1, 2}), frozenset({0, 1, 2}))


def clock_run(ending: Ending, losses: list[float], norms: list[float]) -> list[int]:
    clock, schedule, phases = PhaseClock(), FreezeSchedule(DOWN[:3], ending), []
    for loss, norm in zip(losses, norms, strict=True):
        clock.tick(schedule, loss, norm, norm)
        phases.append(clock.phase)
    return phases


def test_phases_by_epochs_last_that_long() -> None:
    assert clock_run(Ending("epochs", 2), [1.0] * 6, [1.0] * 6) == [0, 1, 1, 2, 2, 2]


def test_a_plateau_ends_a_phase_after_patience_epochs_without_a_better_loss() -> None:
    losses = [3.0, 2.0, 2.5, 2.4, 1.0, 0.9]
    assert clock_run(Ending("plateau", 50, patience=2), losses, [1.0] * 6) == [0, 0, 0, 1, 1, 1]


def test_a_loss_that_falls_by_less_than_min_delta_is_no_better() -> None:
    """As Lightning's EarlyStopping: what counts is the distance from the last better one."""
    losses = [1.0, 0.95, 0.91, 0.85, 0.84, 0.83]
    ending = Ending("plateau", 50, patience=2, min_delta=0.1)
    assert clock_run(ending, losses, [1.0] * 6) == [0, 0, 1, 1, 1, 2]
    assert clock_run(Ending("plateau", 50, patience=2), losses, [1.0] * 6) == [0] * 6


def test_a_small_gradient_norm_ends_a_phase() -> None:
    norms = [4.0, 2.0, 0.9, 4.0, 3.0, 1.1]
    phases = clock_run(Ending("grad_norm", 50, grad_share=0.3), [1.0] * 6, norms)
    assert phases == [0, 0, 1, 1, 1, 2]


def test_epochs_bounds_every_phase_so_that_later_ones_come() -> None:
    assert clock_run(Ending("plateau", 2, patience=9), [1.0] * 4, [1.0] * 4) == [0, 1, 1, 2]


@given(st.lists(st.floats(0, 9), min_size=1, max_size=10), st.integers(0, 9))
def test_a_clock_restored_from_its_state_goes_on_the_same(losses: list[float], at: int) -> None:
    schedule = FreezeSchedule(DOWN, Ending("plateau", 3, patience=1))
    straight, first = PhaseClock(), PhaseClock()
    for loss in losses:
        straight.tick(schedule, loss, loss, loss)
    for loss in losses[:at]:
        first.tick(schedule, loss, loss, loss)
    second = PhaseClock()
    second.load_state_dict(first.state_dict())
    for loss in losses[at:]:
        second.tick(schedule, loss, loss, loss)
    assert second == straight
