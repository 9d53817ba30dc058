"""The minutes of a sweep: what they allow, and that a stage ends once for all sessions."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from tlsweep.facts import Facts
from tlsweep.stages.budget import CLOSING, FOLDS, SLOWER, Budget, expected
from tlsweep.stages.contenders import Contender, Identity, identity
from tlsweep.study.draws import Sampling
from tlsweep.study.ledger import Ledger
from tlsweep.study.storage import default_url
from tlsweep.task.outcome import Outcome


@pytest.fixture
def main(tmp_path: Path) -> Ledger:
    sampling = Sampling({"name": "random"}, 0)
    return Ledger(default_url(tmp_path), "s", sampling).open(resume=True)


def budget(main: Ledger, minutes: float | None, *, spent: float = 0.0, before: float = 0.0,
           more: int = 0) -> Budget:  # fmt: skip
    return Budget(minutes, main, before, more, began=time.monotonic() - spent)


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


def test_a_plan_has_room_where_it_can_be_tried_compared_and_quoted(main: Ledger) -> None:
    least = 60 - CLOSING - 10 * (1 + FOLDS + SLOWER)
    assert budget(main, 1, spent=least - 1).has_room("plan=scratch", 10)
    assert not budget(main, 1, spent=least + 1).has_room("plan=scratch", 10)
    # one plan without room closes the door to no other, and stays out in the next session
    assert budget(main, 1, spent=10).has_room("plan=finetune", 1)
    assert not budget(main, 1).has_room("plan=scratch", 1)


def test_a_training_has_the_room_that_leaves_its_plan_to_be_compared_and_quoted(
    main: Ledger,
) -> None:
    now = budget(main, 10, spent=100)
    assert now.room * (1 + FOLDS + SLOWER) + CLOSING == pytest.approx(500, abs=1)
    assert budget(main, None).room == float("inf")
    assert now.without_room(100.2) == (
        "a training takes 100 s or more, and sweep.minutes=10 has no room for those that it needs;"
        " sweep.minutes=18 may have"
    )


def test_with_more_minutes_or_no_limit_it_goes_on(main: Ledger) -> None:
    assert not budget(main, 2, spent=100).allows("search", 30, 0)
    assert budget(main, 3, spent=100).allows("search", 30, 0)
    assert not budget(main, 3, spent=170).allows("search", 30, 0)
    assert not budget(main, 2.5).allows("search", 30, 0)  # now it ended at three
    assert budget(main, None, spent=100).allows("search", 30, 0)


Plan = Callable[..., Contender]
PLANS: list[tuple[str, ...]] = [(), ("scratch",), ("finetune",), ("raw_pixels",)]


def needed(contender: Contender) -> float:
    return 0.0 if contender.outcome is not None else FOLDS + SLOWER


@pytest.fixture
def plan(facts: Callable[..., Facts]) -> Plan:
    def make(seconds: float, *controls: str, outcome: Outcome | None = None) -> Contender:
        overrides = (f"plan={'_'.join(controls) or 'tuned'}", f"train.lr={seconds}")
        mine = facts(keep=PLANS.index(controls))
        return Contender(mine, overrides, controls, outcome=outcome, seconds=seconds)

    return make


def test_final_trainings_take_the_best_plan_and_every_control(main: Ledger, plan: Plan) -> None:
    plans = [plan(4.0), plan(10.0), plan(3.0, "scratch"), plan(5.0, "finetune"),
             plan(0.0, "raw_pixels", outcome=Outcome())]  # fmt: skip
    assert budget(main, 2).final(plans) == pytest.approx(CLOSING + SLOWER * (3 + 5 + 10))
    assert budget(main, 2, more=4).final(plans) == pytest.approx(CLOSING + SLOWER * (8 + 50))
    # the other seeds leave the time for what follows them
    assert budget(main, 2).closing(plans) == CLOSING
    assert budget(main, 2, more=4).closing(plans) == pytest.approx(CLOSING + SLOWER * 40)
    assert budget(main, 2).final([]) == CLOSING
    assert budget(main, 2).final([plans[2]]) == pytest.approx(CLOSING + SLOWER * 3)


def test_a_dear_control_that_cannot_win_does_not_stop_those_that_may(
    main: Ledger, plan: Plan
) -> None:
    """Of 50 seconds, 10 reserved: 45 for all of them are too many, 15 for two are not."""
    scratch = replace(plan(30.0, "scratch"), candidate=False)
    free = replace(plan(0.0, "raw_pixels", outcome=Outcome()), candidate=False)
    plans = [plan(5.0), scratch, plan(10.0, "finetune"), free]
    late = budget(main, 2, spent=70)
    assert late.go_on("confirm", plans, 1.0, 10.0, together=True) == [plans[0], plans[2], free]
    assert late.go_on("final", plans, 0.5, 10.0) == plans
    # it stays so in a faster session
    again = budget(main, 2).go_on("confirm", plans, 1.0, 10.0, together=True)
    assert again == [plans[0], plans[2], free]


def test_where_plans_are_not_compared_the_cheap_ones_go_on_without_the_dear(
    main: Ledger, plan: Plan
) -> None:
    cheap, dear = replace(plan(1.0, "scratch"), candidate=False), plan(70.0, "finetune")
    late = budget(main, 2, spent=70)
    assert late.go_on("final", [dear, cheap], 1.0, 10.0) == [cheap]
    assert late.go_on("confirm", [dear, cheap], 1.0, 10.0, together=True) == []
    assert late.go_on("final", [dear], 1.0, 10.0) == []


def among(*plans: Contender) -> Callable[[Collection[str]], list[Contender]]:
    """The first setting of each plan that is not left out, as ``contenders.trained``."""

    def choose(without: Collection[str]) -> list[Contender]:
        first: dict[Identity, Contender] = {}
        for c in plans:
            if c.key not in without:
                first.setdefault(identity(c.facts, c.overrides), c)
        return list(first.values())

    return choose


def test_what_the_minutes_cannot_hold_is_left_out_the_costliest_first(
    main: Ledger, plan: Plan
) -> None:
    """Each plan needs 3.25 times its seconds: 13, 65 and 130 of the 45 or 95 that are left."""
    assert FOLDS + SLOWER == 3.25
    known = plan(0.0, "raw_pixels", outcome=Outcome())
    plans = [plan(20.0, "scratch"), plan(4.0), plan(40.0, "finetune"), known]
    choose = among(*plans)
    kept, said = budget(main, 2, spent=60).affordable(choose, needed)
    assert kept == [plans[1], known]
    assert said[0].startswith("scratch: a training takes 20 s, and sweep.minutes=2 has no room")
    assert said[1].endswith("sweep.minutes=5 may have")
    # a session that goes on leaves out the same, however much it is quiet now
    assert budget(main, 2, spent=0).affordable(choose, needed)[0] == kept
    assert budget(main, 3, spent=60).affordable(choose, needed)[0] == [plans[0], plans[1], known]
    assert budget(main, None, spent=1e6).affordable(choose, needed) == (plans, [])


def test_a_cheaper_setting_of_a_plan_stands_in_for_one_that_is_too_dear(
    main: Ledger, plan: Plan
) -> None:
    """Of 45 seconds 13 are the other plan's: 3.25 times 40 or 20 do not fit, 3.25 times 8 do."""
    dear, less, cheap = (plan(s, "finetune") for s in (40.0, 20.0, 8.0))
    other = plan(4.0)
    choose = among(dear, other, less, cheap)
    kept, said = budget(main, 2, spent=60).affordable(choose, needed)
    assert kept == [other, cheap]
    (line,) = said
    assert line.startswith("finetune: a training takes 40 s")
    assert line.endswith("In its place: train.lr=8.0, next best on the first fold (8 s)")
    assert budget(main, 2, spent=0).affordable(choose, needed) == (kept, said)
    with_time = budget(main, 4, spent=60).affordable(choose, needed)
    assert with_time == ([dear, other], [])


def test_what_is_trained_already_is_not_asked_to_fit_again(main: Ledger, plan: Plan) -> None:
    plans = [plan(60.0, "scratch"), plan(4.0)]
    done = {id(plans[0]): 0.0, id(plans[1]): 3.25}
    kept, said = budget(main, 2, spent=60).affordable(among(*plans), lambda c: done[id(c)])
    assert kept == plans
    assert said == []
    # nor is anything left out for a plan that takes no time, however late it is
    free = [plan(0.0, "raw_pixels", outcome=Outcome()), plan(4.0)]
    assert budget(main, 2.5, spent=500).affordable(among(*free), needed)[0] == free[:1]


def test_another_training_is_expected_to_take_what_its_plan_took() -> None:
    trials = [
        optuna.trial.create_trial(
            value=0.5,
            user_attrs={"overrides": [f"plan={name}"], "seconds": seconds, "epochs": epochs},
        )
        for name, seconds, epochs in [
            ("last_layers", 4.0, 8), ("finetune", 30.0, 10), ("finetune", 20.0, 20),
            ("last_layers", 5.0, 5), ("truncate_tuned", 6.0, 0),
        ]
    ]  # fmt: skip
    assert expected(trials, ["plan=finetune"]) == 30.0
    assert expected(trials, ["plan=scratch"]) == expected(trials) == 6.0
    # all of 30 epochs, at the slowest pace of its own plan, else of all
    assert expected(trials, ["plan=last_layers"], 30) == 30.0
    assert expected(trials, ["plan=scratch"], 30) == 90.0
    assert expected([]) is None
    assert expected(trials[-1:], ["plan=scratch"], 30) is None


def test_a_training_that_was_given_up_tells_what_it_would_have_taken() -> None:
    attributes = {"overrides": ["plan=finetune"], "seconds": 20.0, "epochs": 2, "takes": 90.0}
    state = optuna.trial.TrialState.PRUNED
    trial = optuna.trial.create_trial(state=state, user_attrs=attributes)
    assert expected([trial], ["plan=finetune"]) == 90.0
    assert expected([trial], ["plan=finetune"], 5) == 50.0
