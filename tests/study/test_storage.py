"""The study's database is fast, shared, and refused in words where it cannot be had."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.study import StudyDirection

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
    with open_storage(url).rows.engine.connect() as connection:
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


def _files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix != ".lock"}


def test_several_processes_that_begin_at_once_make_one_database(url: str) -> None:
    code = (
        "import sys, optuna; from tlsweep.study.storage import open_storage;"
        "print('ready', flush=True); sys.stdin.readline();"
        "storage = open_storage(sys.argv[1]);"
        "optuna.create_study(study_name='s', storage=storage, load_if_exists=True)"
    )
    command = [sys.executable, "-c", code, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    makers = [subprocess.Popen(command, text=True, **pipes) for _ in range(4)]
    for maker in makers:
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        maker.stdin.write("\n")
        maker.stdin.flush()
    errors = [maker.communicate(timeout=120)[1] for maker in makers]
    assert [maker.returncode for maker in makers] == [0] * 4, errors


def test_a_database_of_another_tool_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        for name in ("experiments", "metrics", "params", "runs"):
            connection.execute(f"CREATE TABLE {name} (id INTEGER)")
    connection.close()
    before, url = _files(tmp_path), f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(Refusal) as caught:
        open_storage(url)
    (fault,) = caught.value.faults
    why = "it is no database of Optuna, but has the tables experiments, metrics, params, ..."
    assert fault.value == f"sweep.storage={url}: {why}"
    assert _files(tmp_path) == before


def test_a_damaged_file_is_refused_by_its_name_with_what_helps(tmp_path: Path, url: str) -> None:
    optuna.create_study(study_name="s", storage=url)
    file = Path(url.removeprefix("sqlite:///"))
    content = file.read_bytes()
    for damaged in (
        content[: len(content) // 2],
        content[:4096] + b"\xff" * 4096 + content[8192:],
        b"no database, but long enough to be read as one" * 99,
    ):
        file.write_bytes(damaged)
        with pytest.raises(Refusal) as caught:
            open_storage(url)
        (fault,) = caught.value.faults
        assert "the file is damaged (" in fault.value
        assert fault.mend.startswith(f"a copy of {file.name} from before; or move it away")
        assert file.read_bytes() == damaged


def test_a_database_of_another_version_is_refused_with_the_command_that_mends_it(
    url: str,
) -> None:
    optuna.create_study(study_name="s", storage=url)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE version_info SET schema_version = 2")
        connection.execute("UPDATE alembic_version SET version_num = 'v0.9.0.a'")
    connection.close()
    with pytest.raises(Refusal, match="optuna storage upgrade --storage"):
        open_storage(url)


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


def test_a_number_is_found_whichever_process_made_its_trial(url: str) -> None:
    storage = open_storage(url)
    study = storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    for first, other in ((0, RDBStorage(url)), (3, storage), (6, RDBStorage(url))):
        made = {first + k: other.create_new_trial(study) for k in range(3)}
        for number, trial_id in made.items():
            assert storage.get_trial_id_from_study_id_trial_number(study, number) == trial_id
        with pytest.raises(KeyError):
            storage.get_trial_id_from_study_id_trial_number(study, first + 3)
