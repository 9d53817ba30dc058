"""What a process has seen of a study is what the study is, and a look does not grow with it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from tlsweep.study import view as view_module
from tlsweep.study.crew import Batches, Ended
from tlsweep.study.handle import TrialHandle
from tlsweep.study.ledger import Ledger
from tlsweep.study.queue import Queue
from tlsweep.study.storage import default_url, open_storage
from tlsweep.study.view import DRAW, KEY, RETRY_OF, States, View

Open = Callable[..., Ledger]
ENDS = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
MOVES = st.one_of(
    st.tuples(st.just("enter"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("draw"), st.integers(0, 5)),
    st.tuples(st.just("add"), st.sampled_from(ENDS)),
    st.tuples(st.just("take"), st.integers(0, 9)),
    st.tuples(st.just("end"), st.tuples(st.integers(0, 9), st.sampled_from(ENDS))),
    st.tuples(st.just("look"), st.none()),
)


@pytest.fixture(params=["file", "asked trial by trial"])
def new_study(request: pytest.FixtureRequest) -> Iterator[Callable[[], optuna.Study]]:
    """Begins a study: in a database of ours, and in a storage that knows Optuna's questions."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(10**6))
        in_a_file = request.param == "file"
        storage = open_storage(default_url(Path(folder))) if in_a_file else InMemoryStorage()
        yield lambda: optuna.create_study(study_name=str(next(numbers)), storage=storage)


class Others:
    """What other processes do to a study. study: it, as they see it."""

    def __init__(self, study: optuna.Study) -> None:
        self.study = study

    def do(self, what: str, how: Any) -> None:
        there = self.study.get_trials(deepcopy=False)
        if what == "enter":
            self._add(TrialState.WAITING, {KEY: how, RETRY_OF: len(there) - 1})
        elif what == "draw":
            self._add(TrialState.WAITING, {DRAW: how})
        elif what == "add":
            self._add(how, {})
        elif what == "take" and how < len(there):
            self._set(there[how], TrialState.RUNNING)
        elif what == "end" and how[0] < len(there):
            self._set(there[how[0]], how[1])

    def _add(self, state: TrialState, attributes: dict[str, Any]) -> None:
        value = 0.5 if state == TrialState.COMPLETE else None
        self.study.add_trial(create_trial(state=state, value=value, user_attrs=attributes))

    def _set(self, trial: FrozenTrial, state: TrialState) -> None:
        storage, trial_id = self.study._storage, trial._trial_id  # noqa: SLF001
        with suppress(UpdateFinishedTrialError):
            storage.set_trial_user_attr(trial_id, "noted", state.name)
            values = [0.5] if state == TrialState.COMPLETE else None
            storage.set_trial_state_values(trial_id, state, values)


@settings(max_examples=40, deadline=None)
@given(moves=st.lists(MOVES, max_size=25), many=st.sampled_from([0, 3, 50]))
def _same(
    new_study: Callable[[], optuna.Study], monkeypatch: pytest.MonkeyPatch, moves: Any, many: int
) -> None:
    study = new_study()
    others, view, states = Others(study), View(study), States(study)
    monkeypatch.setattr(view_module, "_MANY", many)
    for what, how in [*moves, ("look", None)]:
        others.do(what, how)
        if what == "look":
            view.look()
            states.look()
            trials = study.get_trials(deepcopy=False)
            _is_what_it_is(view, trials)
            assert states.open == {t.number: t.state for t in trials if not t.state.is_finished()}
            assert states.ids == [t._trial_id for t in trials]  # noqa: SLF001


def _is_what_it_is(view: View, trials: list[FrozenTrial]) -> None:
    assert [(t.number, t.state) for t in view.all()] == [(t.number, t.state) for t in trials]
    assert view.ended(*ENDS) == [t for t in trials if t.state.is_finished()]  # with all they noted
    for state in ENDS:
        assert view.ended(state) == [t for t in trials if t.state == state]
        assert view.n_ended(state) == len(view.ended(state))
    assert [t.number for t in view.open()] == [
        t.number for t in trials if not t.state.is_finished()
    ]
    for key in ("a", "b", None):
        mine = [t.number for t in trials if t.user_attrs.get(KEY, ...) == key]
        assert [t.number for t in view.of_key(key)] == mine
    drawn = {t.user_attrs[DRAW]: t.number for t in trials if DRAW in t.user_attrs}
    assert view.n_draws == 1 + max(drawn, default=-1)
    for draw in range(6):
        trial = view.of_draw(draw)
        assert (trial and trial.number) == drawn.get(draw)
    again = {t.user_attrs.get(RETRY_OF) for t in trials}
    assert [view.has_successor(t) for t in trials] == [t.number in again for t in trials]


def test_after_a_look_a_view_holds_what_the_study_holds_whatever_others_did(
    new_study: Callable[[], optuna.Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    _same(new_study, monkeypatch)


def test_what_is_asked_of_thousands_of_open_trials_is_asked_in_one_statement(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlsweep.study.storage._MOST", 2)
    study = optuna.create_study(study_name="s", storage=open_storage(url))
    others, states = Others(study), States(study)
    for _ in range(6):
        others.do("enter", "a")
    states.look()
    others.do("end", (2, TrialState.FAIL))
    others.do("take", 4)
    assert states.look() == [2, 4]
    assert states.look() == []


# ---------------------------------------------------------------------- what it costs
class Counted:
    """Counts what a database is asked, and the trials that are read from it."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements = self.trials = 0
        rows: Any = open_storage(url).rows  # type: ignore[attr-defined]
        name = "_build_frozen_trial_from_trial_model"
        read = getattr(rows, name)

        def counted(model: Any) -> FrozenTrial:
            self.trials += 1
            return read(model)

        def statement(*_: Any) -> None:
            self.statements += 1

        monkeypatch.setattr(rows, name, counted)
        sqlalchemy.event.listen(rows.engine, "before_cursor_execute", statement)

    def of(self, action: Callable[[], Any]) -> tuple[int, int]:
        """Statements and trials of an action."""
        self.statements = self.trials = 0
        action()
        return self.statements, self.trials


def _filled(url: str, n: int) -> optuna.Study:
    study = optuna.create_study(study_name="s", storage=open_storage(url), load_if_exists=True)
    for _ in range(n - len(study.trials)):
        study.add_trial(create_trial(value=0.5, user_attrs={"overrides": []}))
    return study


def test_taking_a_trial_reads_that_one_trial_however_many_there_are(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, found = Counted(url, monkeypatch), []
    for n in (5, 200):
        study = _filled(url, n)
        queue = Queue(study)
        queue.enter({}, {}, {"overrides": []})
        found.append(counted.of(queue.take))
        study.tell(study.trials[-1].number, 0.5)
        assert found[-1][1] == 1
    assert found[0] == found[1]
    assert min(found[0]) > 0


def test_a_trial_of_a_search_costs_the_same_reads_and_writes_however_many_there_were(
    open_ledger: Open, url: str, space: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, found = space("x=interval(0,1)"), []

    def launch(jobs: Any) -> list[Ended]:
        for job in jobs:
            handle = TrialHandle(url, "s", job.number)
            handle.begin()
            handle.report(1, 0.5)
            handle.finish(0.5, pruned=False)
        return [Ended(0.5) for _ in jobs]

    for n in (5, 200):
        ledger = open_ledger()
        _filled(url, n)
        counted = Counted(url, monkeypatch)

        def search(more: int, ledger: Ledger = ledger) -> None:
            total = ledger.n_counted() + more
            ledger.search(where, Batches(launch), n_trials=total, max_failure_rate=0.0)

        search(1)  # takes the study up
        found.append(counted.of(lambda: search(3)))
    assert found[0] == found[1]
    assert min(found[0]) > 0
