"""A server that is away for a while costs a study nothing: no trial, and none twice."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState, create_trial

from tlsweep.errors import Refusal
from tlsweep.study.patient import Patient, is_away
from tlsweep.study.queue import Queue
from tlsweep.study.storage import default_url, open_storage
from tlsweep.study.view import View

Serve = Callable[[], subprocess.Popen[str]]


class Unsteady(InMemoryStorage):  # type: ignore[misc]
    """A storage that is away for some calls of a method, before or after it did what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.away: dict[str, int] = {}
        self.does_it_first = False

    def fail(self, name: str, act: Callable[[], Any]) -> Any:
        if not self.away.get(name):
            return act()
        self.away[name] -= 1
        if self.does_it_first:
            act()
        raise StorageInternalError("lost") from sqlalchemy.exc.OperationalError("", {}, OSError())

    def create_new_trial(self, *given: Any, **options: Any) -> Any:
        return self.fail(
            "create", lambda: InMemoryStorage.create_new_trial(self, *given, **options)
        )

    def set_trial_state_values(self, *given: Any, **options: Any) -> Any:
        return self.fail(
            "state", lambda: InMemoryStorage.set_trial_state_values(self, *given, **options)
        )


@pytest.fixture(params=[False, True], ids=["before", "after it was done"])
def unsteady(request: pytest.FixtureRequest) -> Unsteady:
    made = Unsteady()
    made.does_it_first = request.param
    return made


@pytest.fixture
def queue(unsteady: Unsteady) -> Queue:
    storage: BaseStorage = Patient(unsteady, "the database")
    return Queue(optuna.create_study(study_name="s", storage=storage))


def test_what_is_asked_while_the_server_is_away_is_done_once(
    queue: Queue, unsteady: Unsteady
) -> None:
    unsteady.away = {"create": 2}
    with pytest.warns(RuntimeWarning, match="the database is away"):
        queue.enter({}, {}, {"overrides": ["seed=1"], "key": "seed=1"})
    assert [t.state for t in queue.study.trials] == [TrialState.WAITING]
    trial = queue.take()
    assert trial is not None
    unsteady.away = {"state": 1}
    queue.study.tell(trial.number, 0.75)
    assert [(t.state, t.value) for t in queue.study.trials] == [(TrialState.COMPLETE, 0.75)]


def test_a_trial_that_may_be_anothers_is_not_said_to_be_ours(
    queue: Queue, unsteady: Unsteady
) -> None:
    queue.enter({}, {}, {"overrides": []})
    unsteady.away = {"state": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial = queue.take()
    (there,) = queue.study.trials
    assert there.state == TrialState.RUNNING
    # where the answer was lost nobody has it, and it is given back as one that shows no life
    assert (trial is None) == unsteady.does_it_first


def test_a_finished_trial_is_entered_once(queue: Queue, unsteady: Unsteady) -> None:
    unsteady.away = {"create": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        queue.study.add_trial(create_trial(value=0.5, user_attrs={"key": "a"}))
    assert [t.value for t in queue.study.trials] == [0.5]


def test_one_that_stays_away_is_said_in_the_end() -> None:
    unsteady = Unsteady()
    storage: BaseStorage = Patient(unsteady, "the database", seconds=0.2)
    study = optuna.create_study(storage=storage)
    unsteady.away = {"create": 10**6}
    with pytest.warns(RuntimeWarning), pytest.raises(StorageInternalError):
        study.ask()


def test_what_a_server_refuses_is_not_asked_again() -> None:
    assert not is_away(KeyError("no such study"))
    assert not is_away(StorageInternalError("full"))
    data = StorageInternalError("too long")
    data.__cause__ = sqlalchemy.exc.DataError("", {}, ValueError())
    assert not is_away(data)


# ---------------------------------------------------------------------- a real proxy
@pytest.fixture
def serve(tmp_path: Path) -> Iterator[tuple[str, Serve]]:
    """The URL of a proxy, and what begins it."""
    pytest.importorskip("grpc")
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begun: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        code = "import sys; from tlsweep.study.storage import serve;"
        code += "serve(sys.argv[1], '127.0.0.1', int(sys.argv[2]))"
        line = [sys.executable, "-W", "error", "-c", code, default_url(tmp_path), str(port)]
        begun.append(subprocess.Popen(line, text=True, stderr=subprocess.PIPE))
        return begun[-1]

    yield f"grpc://127.0.0.1:{port}", begin
    for process in begun:
        process.kill()
        process.communicate()


def test_a_proxy_that_is_killed_and_begun_again_loses_no_trial_and_doubles_none(
    serve: tuple[str, Serve],
) -> None:
    url, begin = serve
    first = begin()
    queue = Queue(optuna.create_study(study_name="s", storage=open_storage(url)))
    for seed in range(6):
        queue.enter({}, {}, {"overrides": [f"seed={seed}"], "key": str(seed)})
    for killed in (2, 4):
        first.kill()
        first.wait()
        time.sleep(0.2)
        first = begin()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(killed // 2):
                trial = queue.take()
                assert trial is not None
                queue.study.tell(trial.number, 0.5)
    states = [t.state.name for t in queue.study.trials]
    assert states == ["COMPLETE"] * 3 + ["WAITING"] * 3


def test_through_a_proxy_a_process_sees_what_the_study_is(serve: tuple[str, Serve]) -> None:
    url, begin = serve
    begin()
    study = optuna.create_study(study_name="s", storage=open_storage(url))
    queue, view = Queue(study), View(study)
    for seed in range(60):
        queue.enter({}, {}, {"overrides": [f"seed={seed}"], "key": str(seed)})
    assert len(view.look().open()) == 60
    trial = queue.take()
    assert trial is not None
    study.tell(trial.number, 0.5)
    queue.take()
    queue.enter({}, {}, {"overrides": [], "key": "more"})
    assert [t.state for t in view.look().all()] == [t.state for t in study.trials]
    assert [t.value for t in view.ended(TrialState.COMPLETE)] == [0.5]


def test_an_address_where_no_proxy_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc")
    monkeypatch.setattr("tlsweep.study.storage.ANSWERS", 0.2)
    for url, reason in (
        ("grpc://127.0.0.1:9", "GRPC connection timeout"),
        ("grpc://host", "the address of a proxy is grpc://HOST:PORT"),
    ):
        with pytest.raises(Refusal) as caught:
            open_storage(url)
        (fault,) = caught.value.faults
        assert fault.value == f"sweep.storage={url}: {reason}"
        assert fault.mend.startswith("start it where the database is: python -m tlsweep proxy")
