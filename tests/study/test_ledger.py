"""The ledger: an exact budget, a list in order, and nothing lost when a session ends early."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import optuna
import psutil
import pytest
from lost_trials import GONE, begun
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from tlsweep.errors import Refusal
from tlsweep.study.alive import lives, this_process
from tlsweep.study.crew import Batches, Ended
from tlsweep.study.handle import TrialHandle
from tlsweep.study.ledger import Item, Ledger, TooManyFailures, reason_of_failure
from tlsweep.study.queue import GOES_ON, Job
from tlsweep.study.space import Space

Open = Callable[..., Ledger]
MakeSpace = Callable[..., Space]


def search(ledger: Ledger, space: Space, launch: Any, *, n_trials: int = 6, n_jobs: int = 1,
           max_failure_rate: float = 0.0, **more: Any) -> None:  # fmt: skip
    ledger.search(space, Batches(launch, n_jobs), n_trials=n_trials,
                  max_failure_rate=max_failure_rate, **more)  # fmt: skip


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_a_search_counts_exactly_its_budget(
    open_ledger: Open, space: MakeSpace, jobs: Any, n_jobs: int
) -> None:
    launch = jobs()
    search(open_ledger(), space("x=interval(0,1)", "y=7"), launch, n_trials=6, n_jobs=n_jobs)
    assert [len(batch) for batch in launch.batches] == ([1] * 6 if n_jobs == 1 else [4, 2])
    assert len(set(launch.overrides)) == 6
    assert all(o[0] == "y=7" and o[1].startswith("x=0.") for o in launch.overrides)


def test_a_search_ends_when_there_is_no_time_for_another_trial(
    open_ledger: Open, space: MakeSpace, jobs: Any
) -> None:
    launch, ledger = jobs(), open_ledger()
    search(ledger, space("x=interval(0,1)"), launch, go_on=lambda: len(launch.batches) < 2)
    assert len(ledger.completed()) == 2
    search(open_ledger(), space("x=interval(0,1)"), launch, go_on=lambda: False)
    assert len(launch.batches) == 2


def test_hinted_values_come_first_once_and_the_rest_is_drawn(
    open_ledger: Open, space: MakeSpace, jobs: Any
) -> None:
    where, launch = space("c=choice(a,b,d)", "x=interval(0,1)"), jobs()
    for seed, n_trials in enumerate((1, 4)):
        ledger = open_ledger(seed=seed)
        ledger.hint([{"c": "d"}, {"c": "b"}])
        search(ledger, where, launch, n_trials=n_trials)
    assert [o[0] for o in launch.overrides[:2]] == ["c=d", "c=b"]
    assert len(launch.overrides) == 4
    assert len({o[1] for o in launch.overrides}) == 4
    assert all(sorted(t.params) == ["c", "x"] for t in ledger.completed())


# ------------------------------------------------------------------ wanted by name
def test_what_is_wanted_by_name_has_typed_parameters_that_optunas_plots_show(
    open_ledger: Open, jobs: Any
) -> None:
    typed = {
        "plan": CategoricalDistribution(["scratch", "truncate"]),
        "train.lr": FloatDistribution(0.0, 1e6),
        "fold": IntDistribution(0, 100),
    }
    ledger = open_ledger(typed=typed)
    ran = Item.of(("plan=scratch", "train.lr=1e-3", "fold=2", "record=none"))
    known = Item.of(("plan=truncate", "fold=null"))
    launch = jobs(lambda overrides: 0.25)
    ledger.run_list([ran], Batches(launch))
    ledger.add_finished(known, 0.75, {"seconds": 0.0})
    assert launch.overrides == [ran.overrides]
    first, second = ledger.completed()
    assert first.params == {"plan": "scratch", "train.lr": 0.001, "fold": 2}
    assert first.distributions == typed
    assert second.params == {"plan": "truncate"}
    assert second.distributions == {"plan": typed["plan"]}
    assert (second.value, second.user_attrs["seconds"]) == (0.75, 0.0)
    importance = optuna.importance.get_param_importances(ledger.study, params=["plan"])
    assert set(importance) == {"plan"}


def test_an_item_is_found_by_its_key_once_it_is_finished(open_ledger: Open, jobs: Any) -> None:
    ledger, item = open_ledger(), Item.of(("seed=1",))
    assert ledger.of(item) is None
    assert not ledger.knows(item)

    def fail(overrides: Sequence[str]) -> float:
        raise RuntimeError("no")

    ledger.run_list([item], Batches(jobs(fail)))
    assert ledger.knows(item)
    assert ledger.of(item) is None
    ledger.run_list([item], Batches(jobs(lambda overrides: 0.5)))  # once a session
    assert ledger.of(item) is None
    ledger = open_ledger()
    ledger.run_list([item], Batches(jobs(lambda overrides: 0.5)))
    found = ledger.of(item)
    assert found is not None
    assert found.value == 0.5


def test_a_search_that_is_done_runs_no_further_trial(
    open_ledger: Open, space: MakeSpace, jobs: Any
) -> None:
    search(open_ledger(), space("x=interval(0,1)"), jobs())
    again = jobs()
    search(open_ledger(), space("x=interval(0,1)"), again)
    assert again.batches == []


def test_pruned_trials_count_and_failed_ones_do_not(
    open_ledger: Open, space: MakeSpace, jobs: Any
) -> None:
    ledger, calls = open_ledger(), iter(range(100))

    def act(overrides: Sequence[str]) -> float:
        i = next(calls)
        if i == 1:
            raise RuntimeError("loss is NaN")
        if i == 2:
            (running,) = ledger.trials(TrialState.RUNNING)
            ledger.study.tell(running.number, state=TrialState.PRUNED)
        return 0.5

    search(ledger, space("x=interval(0,1)"), jobs(act), n_trials=4, max_failure_rate=0.25)
    states = [t.state.name for t in ledger.trials()]
    assert states == ["COMPLETE", "FAIL", "PRUNED", "COMPLETE", "COMPLETE"]
    assert reason_of_failure(ledger.trials()[1]) == "RuntimeError: loss is NaN"
    assert reason_of_failure(ledger.trials()[0]) is None
    assert len(ledger.counted()) == 4
    assert len(ledger.completed()) == 3
    assert len(ledger.ended()) == 5


def test_a_search_stops_when_more_than_its_share_fails_and_says_why(
    open_ledger: Open, space: MakeSpace, jobs: Any
) -> None:
    reasons = iter(["out of memory", "loss is NaN", "out of memory", "-", "-"])

    def act(overrides: Sequence[str]) -> float:
        raise RuntimeError(next(reasons))

    launch, ledger = jobs(act), open_ledger()
    with pytest.raises(TooManyFailures) as caught:
        search(ledger, space("x=interval(0,1)"), launch, n_trials=8, max_failure_rate=0.25)
    assert len(launch.batches) == 3  # two of eight are a quarter, the third is more
    assert str(caught.value) == (
        "3 trials failed, more than sweep.max_failure_rate=0.25 of 8 allows."
        " Reasons: RuntimeError: loss is NaN; RuntimeError: out of memory."
        " The same command goes on once they are mended; a larger sweep.max_failure_rate puts up"
        " with them."
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "0.5", 10**400])
def test_a_job_that_returns_no_number_has_failed_with_that_as_reason(
    open_ledger: Open, space: MakeSpace, jobs: Any, value: object
) -> None:
    ledger = open_ledger()
    with pytest.raises(TooManyFailures, match=f"the job returned {value}, not a finite number"):
        search(ledger, space("x=interval(0,1)"), jobs(lambda overrides: value))
    assert [t.state.name for t in ledger.trials()] == ["FAIL"]


def test_a_job_that_told_its_own_end_is_not_told_twice(open_ledger: Open, space: MakeSpace) -> None:
    ledger = open_ledger()

    def launch(batch: Sequence[Job]) -> list[Ended]:
        for job in batch:
            ledger.study.tell(job.number, 0.9)
        return [Ended(0.1) for _ in batch]

    search(ledger, space("x=interval(0,1)"), launch, n_trials=2)
    assert [t.value for t in ledger.completed()] == [0.9, 0.9]


def test_after_each_trial_its_end_is_shown(open_ledger: Open, space: MakeSpace, jobs: Any) -> None:
    ledger, seen = open_ledger(), []
    ledger.on_trial = lambda trial: seen.append((trial.number, trial.state.name))
    search(ledger, space("x=interval(0,1)"), jobs(), n_trials=2)
    assert seen == [(0, "COMPLETE"), (1, "COMPLETE")]


def test_a_list_runs_each_item_once_whatever_the_session(open_ledger: Open, jobs: Any) -> None:
    items = [Item.of((f"seed={i}",)) for i in range(5)]
    first, second = jobs(), jobs()
    open_ledger().run_list(items[:3], Batches(first, 2))
    open_ledger().run_list(items, Batches(second, 2))
    assert [len(b) for b in first.batches] == [2, 1]
    assert first.overrides + second.overrides == [i.overrides for i in items]


def test_an_item_is_the_same_in_whatever_order_its_overrides_are_written(
    open_ledger: Open, jobs: Any
) -> None:
    one, same = Item.of(("plan=finetune", "seed=1")), Item.of(("seed=1", "plan=finetune"))
    assert one.key == same.key != Item.of(("seed=2", "plan=finetune")).key
    first, second = jobs(lambda overrides: 0.5), jobs(lambda overrides: 0.5)
    open_ledger().run_list([one], Batches(first))
    assert first.overrides == [("plan=finetune", "seed=1")]  # run as it was written
    open_ledger().run_list([same], Batches(second))
    assert second.overrides == []


def test_a_failed_item_does_not_stop_the_list_and_the_next_session_runs_it_again(
    open_ledger: Open, jobs: Any
) -> None:
    broken = {("seed=1",)}

    def act(overrides: Sequence[str]) -> float:
        if overrides in broken:
            raise RuntimeError("the disk is full")
        return 0.5

    items = [Item.of((f"seed={i}",)) for i in range(3)]
    first, second, third = jobs(act), jobs(act), jobs(act)
    open_ledger().run_list(items, Batches(first))
    assert first.overrides == [i.overrides for i in items]
    broken.clear()
    ledger = open_ledger()
    ledger.run_list(items, Batches(second))
    assert second.overrides == [("seed=1",)]
    assert sorted(t.user_attrs["key"] for t in ledger.ended()) == [i.key for i in items]
    open_ledger().run_list(items, Batches(third))
    assert third.overrides == []


def test_an_item_that_would_fail_the_same_way_is_not_run_again(
    open_ledger: Open, jobs: Any
) -> None:
    ledger = open_ledger()

    def diverge(batch: Sequence[Job]) -> list[Ended]:
        for job in batch:
            TrialHandle(ledger.storage, "s", job.number).fail("the loss is NaN", again=False)
        return [Ended(error=RuntimeError("the loss is NaN")) for _ in batch]

    items = [Item.of(("train.lr=100",))]
    ledger.run_list(items, Batches(diverge))
    later = jobs()
    open_ledger().run_list(items, Batches(later))
    assert later.overrides == []


@pytest.mark.parametrize(("minutes", "run"), [(10.0, False), (5.0, False), (11.0, True)])
def test_an_item_that_took_too_long_is_run_again_where_there_are_more_minutes(
    open_ledger: Open, jobs: Any, minutes: float, run: bool
) -> None:
    ledger = open_ledger(minutes=10.0)

    def give_up(batch: Sequence[Job]) -> list[Ended]:
        for job in batch:
            handle = TrialHandle(ledger.storage, "s", job.number)
            handle.give_up(90.04, 10.0)
            handle.finish(0.0, pruned=True)
        return [Ended() for _ in batch]

    item = Item.of(("plan=finetune",))
    ledger.run_list([item], Batches(give_up))
    assert [t.user_attrs["takes"] for t in ledger.given_up()] == [90.0]
    assert reason_of_failure(ledger.given_up()[0]) is None
    later, jobs_run = open_ledger(minutes=minutes), jobs()
    assert later.would_run(item) == run
    assert bool(later.given_up()) != run
    later.run_list([item], Batches(jobs_run))
    assert len(jobs_run.overrides) == run
    assert (later.of(item) is not None) == run
    assert not later.would_run(item)


# ------------------------------------------------------------------ cut short
def test_an_interrupted_trial_is_run_again_with_the_same_parameters_and_counted_once(
    open_ledger: Open, space: MakeSpace, jobs: Any
) -> None:
    def interrupt(batch: Sequence[Job]) -> list[Ended]:
        raise KeyboardInterrupt

    where = space("x=interval(0,1)", "c=choice(a,b)")
    with pytest.raises(KeyboardInterrupt):
        search(open_ledger(), where, interrupt, n_jobs=2)
    ledger, launch = open_ledger(seed=99), jobs()
    search(ledger, where, launch, n_trials=3)
    cut = [t for t in ledger.trials() if t.user_attrs.get("cut_short")]
    done = ledger.completed()
    assert [t.user_attrs["reason"] for t in cut] == ["interrupted"] * 2
    assert [t.params for t in done[:2]] == [t.params for t in cut]
    assert all(sorted(t.params) == ["c", "x"] for t in done)
    assert [t.user_attrs["overrides"] for t in done] == [list(o) for o in launch.overrides]
    assert [t.user_attrs.get("retry_of") for t in done] == [0, 1, None]
    assert ledger.ended() == done


def test_parameters_outlive_two_interruptions_at_the_worst_moments(
    open_ledger: Open, space: MakeSpace, jobs: Any
) -> None:
    where, ledger = space("x=interval(0,1)"), open_ledger()
    lost = begun(ledger, where, **GONE)
    params = ledger.study.trials[lost.number].params
    ledger.reclaim()
    ledger.queue.take()  # the second attempt is killed before it has done anything
    (second,) = ledger.trials(TrialState.RUNNING)
    ledger.queue.note(second, "worker", {**second.user_attrs["worker"], **GONE})
    ledger.reclaim()
    launch = jobs()
    search(ledger, where, launch, n_trials=1)
    assert launch.overrides == [lost.overrides]
    assert ledger.completed()[0].params == params


def test_an_interrupted_item_keeps_its_key_and_overrides(open_ledger: Open, jobs: Any) -> None:
    def interrupt(batch: Sequence[Job]) -> list[Ended]:
        raise KeyboardInterrupt

    items = [Item.of(("seed=1",)), Item.of(("seed=2",))]
    with pytest.raises(KeyboardInterrupt):
        open_ledger().run_list(items, Batches(interrupt))
    launch, ledger = jobs(), open_ledger()
    ledger.run_list(items, Batches(launch))
    assert sorted(launch.overrides) == [("seed=1",), ("seed=2",)]
    assert sorted(t.user_attrs["key"] for t in ledger.completed()) == ["seed=1", "seed=2"]


def test_a_lost_item_is_run_again_though_other_items_are_asked_for_first(
    open_ledger: Open, jobs: Any
) -> None:
    """A sweep asks for its items one by one, or fold by fold: from the first one, each session."""
    items = [Item.of((f"seed={i}",)) for i in range(3)]

    def killed_in_the_second(batch: Sequence[Job]) -> list[Ended]:
        if batch[0].overrides == items[1].overrides:
            raise KeyboardInterrupt
        return [Ended(0.5) for _ in batch]

    def one_by_one() -> None:
        for item in items:
            open_ledger().run_list([item], Batches(killed_in_the_second))

    with pytest.raises(KeyboardInterrupt):
        one_by_one()
    launch, ledger = jobs(), open_ledger()
    ledger.reclaim()
    for item in items:
        ledger.run_list([item], Batches(launch))
    assert launch.overrides == [items[1].overrides, items[2].overrides]
    assert sorted(t.user_attrs["key"] for t in ledger.completed()) == [i.key for i in items]


def test_trials_of_a_batch_that_had_ended_are_not_run_again(
    open_ledger: Open, space: MakeSpace
) -> None:
    ledger = open_ledger()

    def half(batch: Sequence[Job]) -> list[Ended]:
        ledger.study.tell(batch[0].number, 0.9)
        raise OSError("a worker was killed")

    with pytest.raises(OSError, match="killed"):
        search(ledger, space("x=interval(0,1)"), half, n_jobs=2)
    assert [t.state.name for t in ledger.trials()] == ["COMPLETE", "FAIL", "WAITING"]


def test_a_trial_whose_process_is_dead_is_given_back_to_the_queue(
    open_ledger: Open, space: MakeSpace, jobs: Any
) -> None:
    ledger, where = open_ledger(), space("x=interval(0,1)")
    code = "import json; from tlsweep.study.alive import this_process as t; print(json.dumps(t()))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    import json

    job = begun(ledger, where, **json.loads(out.stdout))
    (lost,) = open_ledger().reclaim()
    assert lost.number == job.number
    launch = jobs()
    search(open_ledger(), where, launch, n_trials=1)
    assert launch.overrides == [job.overrides]


def test_reclaiming_twice_queues_a_lost_trial_once(open_ledger: Open, space: MakeSpace) -> None:
    ledger = open_ledger()
    begun(ledger, space("x=interval(0,1)"), **GONE)
    (trial,) = ledger.trials(TrialState.RUNNING)
    # a session that reclaimed it was killed after it had closed the trial
    ledger.queue.note(trial, GOES_ON, {"died": 1})
    assert ledger.queue.close(trial, "its process ended before it did")
    for _ in range(2):
        assert ledger.reclaim() == []
        assert [t.state.name for t in ledger.trials()] == ["FAIL", "WAITING"]
    (again,) = ledger.trials(TrialState.WAITING)
    assert (again.params, again.user_attrs["died"]) == (trial.params, 1)


def test_a_trial_that_ends_as_it_is_given_back_counts_and_has_no_successor(
    open_ledger: Open, space: MakeSpace
) -> None:
    ledger = open_ledger()
    job = begun(ledger, space("x=interval(0,1)"))
    (seen,) = ledger.trials(TrialState.RUNNING)
    ledger.study.tell(job.number, 0.9)
    assert not ledger.queue.give_back(seen, "its process ended before it did")
    assert [t.value for t in ledger.ended()] == [0.9]
    assert len(ledger.trials()) == 1


def test_a_trial_that_two_give_back_at_once_waits_once(open_ledger: Open, space: MakeSpace) -> None:
    ledger = open_ledger()
    begun(ledger, space("x=interval(0,1)"))
    (seen,) = ledger.trials(TrialState.RUNNING)
    assert ledger.queue.give_back(seen, "interrupted")
    assert ledger.queue.give_back(seen, "its process ended before it did")
    assert [t.state.name for t in ledger.trials()] == ["FAIL", "WAITING"]


def test_a_trial_that_ends_with_its_process_three_times_failed_and_the_sweep_goes_on(
    open_ledger: Open, space: MakeSpace, jobs: Any
) -> None:
    ledger, where = open_ledger(), space("x=interval(0,1)")
    params = []
    for _ in range(3):
        job = begun(ledger, where, **GONE)
        params.append(ledger.trials()[job.number].params)
        assert len(ledger.reclaim()) == 1
    assert params[0] == params[1] == params[2]
    (failed,) = ledger.ended()
    assert (
        failed.user_attrs["reason"]
        == "its process ended before it did, 3 times: it is not run again"
    )
    assert not ledger.trials(TrialState.WAITING)
    launch = jobs()
    search(ledger, where, launch, n_trials=1, max_failure_rate=1.0)
    assert launch.overrides != [job.overrides]


def test_an_item_that_kills_its_process_is_run_three_times_in_all(
    open_ledger: Open, url: str, jobs: Any
) -> None:
    code = (
        "import os, sys; from tlsweep.study.draws import Sampling;"
        "from tlsweep.study.crew import Batches; from tlsweep.study.ledger import *;"
        "ledger = Ledger(sys.argv[1], 's', Sampling({'name': 'random'}, 0),"
        " facts={'question': 1}).open(resume=True); ledger.reclaim();"
        "ledger.run_list([Item.of(('seed=1',))], Batches(lambda jobs: os._exit(9)))"
    )
    ended = [
        subprocess.run([sys.executable, "-c", code, url], check=False).returncode for _ in range(4)
    ]
    assert ended == [9, 9, 9, 0]
    ledger, launch = open_ledger(), jobs()
    ledger.run_list([Item.of(("seed=2",))], Batches(launch))
    assert launch.overrides == [("seed=2",)]
    assert not ledger.would_run(Item.of(("seed=1",)))
    failed = [t for t in ledger.ended() if t.state == TrialState.FAIL]
    assert [t.user_attrs["key"] for t in failed] == ["seed=1"]


def test_a_trial_that_gets_further_each_time_is_run_again_however_often(
    open_ledger: Open, space: MakeSpace
) -> None:
    ledger, where = open_ledger(), space("x=interval(0,1)")
    for epochs in (1, 2, 3, 4, 4, 4):
        job = begun(ledger, where, **GONE)
        for epoch in range(1, epochs + 1):
            TrialHandle(ledger.storage, ledger.name, job.number).report(epoch, 0.1)
        assert not [t for t in ledger.ended() if t.user_attrs.get("again") is False]
        ledger.reclaim()
    assert len(ledger.ended()) == 1


def test_a_study_of_another_program_is_refused_and_left_as_it_is(
    open_ledger: Open, url: str
) -> None:
    theirs = optuna.create_study(study_name="s", storage=url, direction="maximize")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    with pytest.raises(Refusal, match=r"study=s \(2 trials of another program\)"):
        open_ledger()
    assert optuna.load_study(study_name="s", storage=url).user_attrs == {}


def test_reclaim_waits_for_a_trial_whose_process_still_runs(
    open_ledger: Open, space: MakeSpace
) -> None:
    ledger = open_ledger()
    job = begun(ledger, space("x=interval(0,1)"))
    code = (
        "import sys, time; from tlsweep.study import handle;"
        "h = handle.TrialHandle(sys.argv[1], 's', 0);"
        "h.begin(); print('begun', flush=True); time.sleep(1.5); h.finish(0.7, pruned=False)"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code, ledger.storage], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "begun\n"
    assert open_ledger().reclaim() == []
    worker.wait()
    assert ledger.study.trials[job.number].value == 0.7


def test_only_the_process_that_was_noted_lives() -> None:
    me = this_process()
    assert lives(me)
    assert not lives({**me, "started": me["started"] - 60})  # its number was given out again
    assert not lives({**me, "pid": 2**22 + 1})
    assert lives({**me, "machine": "elsewhere"}) is None  # its counter tells


def test_a_dead_process_that_nobody_collected_does_not_live() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        zombie = psutil.Process(child)
        while zombie.status() != psutil.STATUS_ZOMBIE:
            pass
        assert not lives({**this_process(), "pid": child, "started": zombie.create_time()})
    finally:
        os.waitpid(child, 0)


# ------------------------------------------------------------------ taken up again
def test_a_study_with_other_facts_is_refused_with_each_difference(open_ledger: Open) -> None:
    open_ledger({"train.lr": 0.1, "seed": 0, "space": {"x": "a"}})
    with pytest.raises(Refusal) as caught:
        open_ledger({"train.lr": 0.2, "seed": 0, "space": {"x": "b"}, "new": 1})
    assert [f.value for f in caught.value.faults] == [
        "new=1; study s has (absent)",
        "space={'x': 'b'}; study s has {'x': 'a'}",
        "train.lr=0.2; study s has 0.1",
    ]
    assert caught.value.faults[0].mend == "study=s_2 to ask another one, or leave that change out"


def test_facts_are_the_same_after_json_made_lists_of_tuples(open_ledger: Open) -> None:
    open_ledger({"shape": (1, 2)})
    open_ledger({"shape": (1, 2)})


def test_without_resume_a_known_study_is_refused_and_a_new_one_is_not(open_ledger: Open) -> None:
    open_ledger(resume=False)
    with pytest.raises(Refusal) as caught:
        open_ledger(resume=False)
    assert caught.value.faults[0].mend == "study=s_2, or sweep.resume=true"
