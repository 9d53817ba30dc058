"""Freeze schedules as pure data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsweep.plan import TransferPlan
from tlsweep.train.schedule import Ending, FreezeSchedule, PhaseClock, constant, gradual, two_phase


@st.composite
def plans(draw: st.DrawFn) -> TransferPlan:
    n = draw(st.integers(0, 12))
    a, b, c = sorted(draw(st.lists(st.integers(0, n), min_size=3, max_size=3)))
    return TransferPlan(a, b, c, n)


@given(plans())
def test_every_schedule_ends_at_the_plans_own_freeze_point_and_only_thaws(
    plan: TransferPlan,
) -> None:
    for schedule in (constant(plan), two_phase(plan, Ending()), gradual(plan, Ending())):
        assert schedule.freezes[-1] == plan.freeze
        assert list(schedule.freezes) == sorted(set(schedule.freezes), reverse=True)
        assert all(plan.freeze <= freeze <= plan.keep for freeze in schedule.freezes)


def test_gradual_thaws_one_block_a_phase_from_the_top() -> None:
    assert gradual(TransferPlan(1, 4, 5, 5), Ending()).freezes == (4, 3, 2, 1)


def test_a_schedule_that_freezes_again_is_refused() -> None:
    with pytest.raises(ValueError, match="falls"):
        FreezeSchedule((1, 2))


def clock_run(ending: Ending, losses: list[float], norms: list[float]) -> list[int]:
    clock, schedule, phases = PhaseClock(), FreezeSchedule((2, 1, 0), ending), []
    for loss, norm in zip(losses, norms, strict=True):
        clock.tick(schedule, loss, norm, norm)
        phases.append(clock.phase)
    return phases


def test_phases_by_epochs_last_that_long() -> None:
    assert clock_run(Ending("epochs", 2), [1.0] * 6, [1.0] * 6) == [0, 1, 1, 2, 2, 2]


def test_a_plateau_ends_a_phase_after_patience_epochs_without_a_better_loss() -> None:
    losses = [3.0, 2.0, 2.5, 2.4, 1.0, 0.9]
    assert clock_run(Ending("plateau", 50, patience=2), losses, [1.0] * 6) == [0, 0, 0, 1, 1, 1]


def test_a_small_gradient_norm_ends_a_phase() -> None:
    norms = [4.0, 2.0, 0.9, 4.0, 3.0, 1.1]
    phases = clock_run(Ending("grad_norm", 50, grad_share=0.3), [1.0] * 6, norms)
    assert phases == [0, 0, 1, 1, 1, 2]


def test_epochs_bounds_every_phase_so_that_later_ones_come() -> None:
    assert clock_run(Ending("plateau", 2, patience=9), [1.0] * 4, [1.0] * 4) == [0, 1, 1, 2]


@given(st.lists(st.floats(0, 9), min_size=1, max_size=10), st.integers(0, 9))
def test_a_clock_restored_from_its_state_goes_on_the_same(losses: list[float], at: int) -> None:
    schedule = FreezeSchedule((3, 2, 1, 0), Ending("plateau", 3, patience=1))
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
