"""The study's database is fast, shared, and refused in words where it cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from tlsweep.errors import Refusal
from tlsweep.study.storage import default_url, open_storage

WRITER = """
import sys, optuna
from tlsweep.study.storage import open_storage
study = optuna.load_study(study_name="s", storage=open_storage(sys.argv[1]))
for _ in range(20):
    trial = study.ask()
    trial.report(0.5, 1)
    study.tell(trial, trial.suggest_float("x", 0, 1))
"""


def test_sqlite_writes_ahead_and_syncs_at_checkpoints(url: str) -> None:
    with open_storage(url).engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar() == 1


def test_two_processes_write_one_file_and_no_trial_is_lost_or_doubled(url: str) -> None:
    optuna.create_study(study_name="s", storage=open_storage(url))
    command = [sys.executable, "-c", WRITER, url]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [writer.communicate(timeout=120)[1] for writer in writers]
    assert [w.returncode for w in writers] == [0, 0], errors
    trials = optuna.load_study(study_name="s", storage=open_storage(url)).trials
    assert sorted(t.number for t in trials) == list(range(40))
    assert all(t.state == optuna.trial.TrialState.COMPLETE for t in trials)


def test_the_default_database_has_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_url(Path("out")) == f"sqlite:///{tmp_path}/out/optuna.db"


def test_a_database_is_opened_once_a_process(url: str) -> None:
    assert open_storage(url) is open_storage(url)


def _no_database(tmp_path: Path) -> str:
    (tmp_path / "text.db").write_text("this is no database, but long enough to be read as one" * 9)
    return f"sqlite:///{tmp_path}/text.db"


@pytest.mark.parametrize(
    "make",
    [
        lambda tmp: f"sqlite:///{tmp}/missing/optuna.db",
        _no_database,
        lambda tmp: "nonsense",
        lambda tmp: "nosuchdialect://localhost/x",
        lambda tmp: "postgresql+nosuchdriver://localhost/x",
    ],
)
def test_a_database_that_cannot_be_had_is_refused_in_one_line(tmp_path: Path, make: object) -> None:
    assert callable(make)
    url = make(tmp_path)
    with pytest.raises(Refusal) as caught:
        open_storage(url)
    (fault,) = caught.value.faults
    assert fault.value.startswith(f"sweep.storage={url}: ")
    assert "\n" not in fault.value
