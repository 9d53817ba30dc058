"""A trial as its job sees it."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from optuna.trial import TrialState

from tlsweep.study.alive import this_process
from tlsweep.study.handle import TrialHandle
from tlsweep.study.ledger import Ledger, reason_of_failure

Open = Callable[..., Ledger]
PRUNER = {"name": "threshold", "lower": 0.5}


@pytest.fixture
def ledger(open_ledger: Open) -> Ledger:
    return open_ledger()


def handle_of(ledger: Ledger) -> TrialHandle:
    return TrialHandle(ledger.storage, "s", ledger.study.ask().number)


def stored(ledger: Ledger, handle: TrialHandle) -> optuna.trial.FrozenTrial:
    return ledger.study.trials[handle.trial.number]


def test_what_is_noted_and_reported_stands_in_the_study(ledger: Ledger) -> None:
    handle = handle_of(ledger)
    handle.begin()
    handle.note({"facts": {"keep": 3}, "hits": "a.npz"})
    assert handle.report(1, 0.25) is False
    trial = stored(ledger, handle)
    assert trial.user_attrs == {"worker": this_process(), "facts": {"keep": 3}, "hits": "a.npz"}
    assert trial.intermediate_values == {1: 0.25}
    assert trial.state == TrialState.RUNNING


def test_of_facts_that_are_noted_together_all_are_kept_or_none(ledger: Ledger) -> None:
    handle = handle_of(ledger)
    with pytest.raises(TypeError):
        handle.note({"first": 1, "second": object()})  # no JSON value
    assert stored(ledger, handle).user_attrs == {}


def test_the_pruner_of_the_study_decides(open_ledger: Open) -> None:
    assert handle_of(open_ledger()).report(1, 0.4) is False
    ledger = open_ledger(pruner=PRUNER)
    assert handle_of(ledger).report(1, 0.4) is True
    assert handle_of(ledger).report(1, 0.6) is False


def test_a_trial_ends_finished_with_its_score_or_pruned(ledger: Ledger) -> None:
    finished, pruned = handle_of(ledger), handle_of(ledger)
    finished.finish(0.75, pruned=False)
    pruned.report(1, 0.1)
    pruned.finish(0.0, pruned=True)
    assert (stored(ledger, finished).state, stored(ledger, finished).value) == (
        TrialState.COMPLETE,
        0.75,
    )
    assert stored(ledger, pruned).state == TrialState.PRUNED


def test_a_failed_trial_keeps_its_reason(ledger: Ledger) -> None:
    handle = handle_of(ledger)
    handle.fail("loss is NaN")
    assert reason_of_failure(stored(ledger, handle)) == "loss is NaN"


def test_the_first_end_that_is_told_holds(ledger: Ledger) -> None:
    handle = handle_of(ledger)
    handle.finish(0.75, pruned=False)
    handle.finish(0.1, pruned=False)
    handle.finish(0.1, pruned=True)
    assert stored(ledger, handle).value == 0.75


def test_a_failure_after_the_end_changes_nothing_and_does_not_raise(ledger: Ledger) -> None:
    handle = handle_of(ledger)
    handle.finish(0.75, pruned=False)
    handle.fail("too late")
    assert stored(ledger, handle).state == TrialState.COMPLETE
