"""What every freeze schedule promises."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, get_args

from tlsweep.conformance.component import ComponentSuite
from tlsweep.plan import TransferPlan
from tlsweep.registry import component
from tlsweep.schedule.base import FreezeSchedule, Trigger, new_layers
from tlsweep.schedule.settings import PhasedSettings
from tlsweep.terms import BlockState

if TYPE_CHECKING:
    from tlsweep.cut import CutPoints

BLOCKS = 4
EMPTY = (frozenset[int](), frozenset({1}), frozenset({0, 3}), frozenset(range(BLOCKS)))


class Scheduled(NamedTuple):
    """A plan, its blocks with nothing to train, and the schedule that it was given."""

    plan: TransferPlan
    empty: frozenset[int]
    schedule: FreezeSchedule


class ScheduleSuite(ComponentSuite):
    """One freeze schedule, of plans that have each block in any state.

    >>> class TestMySchedule(ScheduleSuite):
    ...     name, options = "my_schedule", {"blocks": 2}
    """

    kind = "schedule"
    asked_of = {"open": ("settings", "plan", "cuts", "empty")}  # noqa: RUF012
    by_name = False

    def plans(self) -> Iterator[TransferPlan]:
        """The plans that it is asked of: every one of four blocks."""
        return map(TransferPlan, itertools.product(BlockState, repeat=BLOCKS))

    @property
    def cuts(self) -> CutPoints:
        """The cut points of a source with so many blocks."""
        return self.once("cuts", _cuts)

    def opened(self, plan: TransferPlan, empty: frozenset[int]) -> FreezeSchedule:
        """The schedule of a plan. empty: its blocks with nothing to train."""
        opener = component("schedule", self.name)
        settings = self.once("settings", self.settings)
        found: FreezeSchedule = opener.open(settings, plan, self.cuts, empty)
        return found

    @property
    def all(self) -> list[Scheduled]:
        """The schedule of every plan, opened once."""
        asked = itertools.product(self.plans(), EMPTY)
        return self.once("all", lambda: [Scheduled(p, e, self.opened(p, e)) for p, e in asked])

    # ------------------------------------------------------------------ blocks
    def test_the_last_phase_trains_all_that_the_plan_trains(self) -> None:
        for plan, empty, schedule in self.all:
            assert schedule.thawed[-1] == plan.trained, (plan.states, empty)

    def test_no_phase_trains_a_frozen_or_a_dropped_block(self) -> None:
        for plan, empty, schedule in self.all:
            still = {*range(plan.n_blocks)} - plan.trained
            assert all(still.isdisjoint(phase) for phase in schedule.thawed), (plan.states, empty)

    def test_new_layers_are_trained_from_the_first_step_on(self) -> None:
        for plan, empty, schedule in self.all:
            assert new_layers(plan) <= schedule.thawed[0], (plan.states, empty)

    def test_each_phase_thaws_more_and_freezes_nothing_again(self) -> None:
        for plan, empty, schedule in self.all:
            assert all(a < b for a, b in pairwise(schedule.thawed)), (plan.states, empty)

    def test_no_phase_is_spent_on_blocks_with_nothing_to_train(self) -> None:
        for plan, empty, schedule in self.all:
            assert all(b - a - empty for a, b in pairwise(schedule.thawed)), (plan.states, empty)

    # ------------------------------------------------------------------ phases
    def test_a_phase_ends_as_the_settings_say_and_has_an_epoch_at_least(self) -> None:
        settings = self.settings()
        for *_, schedule in self.all:
            ending = schedule.ending
            assert ending.until in get_args(Trigger)
            assert min(ending.epochs, ending.patience) >= 1
            assert not isinstance(settings, PhasedSettings) or ending == settings.ending

    def test_a_plan_has_the_same_schedule_each_time_it_is_asked_for(self) -> None:
        for plan, empty, schedule in self.all:
            assert self.opened(plan, empty) == schedule, (plan.states, empty)

    def test_it_can_be_sent_to_another_process(self) -> None:
        for *_, schedule in self.all:
            assert pickle.loads(pickle.dumps(schedule)) == schedule


def _cuts() -> CutPoints:
    import torch
    from torch import nn

    from tlsweep.cut import cut_points

    blocks = [nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()) for _ in range(BLOCKS)]
    model = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(2 * 8 * 8, 3))
    return cut_points(model, torch.zeros(2, 2, 8, 8))
