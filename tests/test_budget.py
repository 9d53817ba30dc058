"""The minutes of a sweep: what they allow, and that a stage ends once for all sessions."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlsweep.budget import SLOWER, Budget
from tlsweep.contenders import Contender
from tlsweep.outcome import Outcome
from tlsweep.study import choice
from tlsweep.study.ledger import Ledger
from tlsweep.study.storage import default_url


@pytest.fixture
def main(tmp_path: Path) -> Ledger:
    sampler = choice.sampler({"name": "random"}, 0)
    return Ledger(default_url(tmp_path), "s", sampler).open(resume=True)


def budget(main: Ledger, minutes: float | None, *, spent: float = 0.0, before: float = 0.0,
           seeds: int = 3) -> Budget:  # fmt: skip
    return Budget(minutes, main, before, seeds, began=time.monotonic() - spent)


def test_without_minutes_everything_is_allowed(main: Ledger) -> None:
    free = budget(main, None, spent=1e6)
    assert free.allows("search", 1e6, 1e6)
    assert not free.ended("search")
    assert free.left == float("inf")


def test_what_earlier_sessions_took_counts(main: Ledger) -> None:
    now = budget(main, 2, spent=20, before=50)
    assert now.spent == pytest.approx(70, abs=1)
    assert now.left == pytest.approx(50, abs=1)


@pytest.mark.parametrize(("seconds", "reserved"), [(50, 0), (10, 40), (0, 50)])
def test_a_trial_is_allowed_where_it_leaves_what_later_stages_need(
    main: Ledger, seconds: float, reserved: float
) -> None:
    assert budget(main, 2, spent=68).allows("search", seconds, reserved)
    assert not budget(main, 2, spent=72).allows("search", seconds, reserved)


def test_a_stage_that_ended_for_want_of_time_ends_there_again_in_a_faster_session(
    main: Ledger,
) -> None:
    assert not budget(main, 2, spent=100).allows("search", 30, 0)
    later = budget(main, 2, before=10)  # the machine is quiet now: there is time
    assert later.ended("search")
    assert not later.allows("search", 30, 0)
    assert not budget(main, 1, before=10).allows("search", 30, 0)
    assert later.allows("confirm", 30, 0)  # each stage has its own end


def test_with_more_minutes_or_no_limit_it_goes_on(main: Ledger) -> None:
    assert not budget(main, 2, spent=100).allows("search", 30, 0)
    assert budget(main, 3, spent=100).allows("search", 30, 0)
    assert not budget(main, 3, spent=170).allows("search", 30, 0)
    assert not budget(main, 2.5).allows("search", 30, 0)  # now it ended at three
    assert budget(main, None, spent=100).allows("search", 30, 0)


def test_final_trainings_take_the_best_plan_and_every_control(
    main: Ledger, facts: Callable[..., dict[str, Any]]
) -> None:
    def contender(seconds: float, *controls: str, outcome: Outcome | None = None) -> Contender:
        return Contender(facts(keep=1), (), controls, outcome=outcome, seconds=seconds)

    plans = [contender(4.0), contender(10.0), contender(3.0, "scratch"), contender(5.0, "finetune"),
             contender(0.0, "raw_pixels", outcome=Outcome())]  # fmt: skip
    assert budget(main, 2, seeds=2).final(plans) == pytest.approx(2 * SLOWER * (3 + 5 + 10))
    assert budget(main, 2).final([]) == 0
    assert budget(main, 2, seeds=1).final([plans[2]]) == pytest.approx(SLOWER * 3)
