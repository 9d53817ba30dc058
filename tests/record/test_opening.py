"""What MLflow's record is opened at, and what is refused before anything is written into it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tlsweep.errors import Refusal
from tlsweep.record.mlflow import MlflowLedger
from tlsweep.record.opening import open_mlflow


@pytest.fixture
def made(ledger: MlflowLedger, record_folder: Path, tmp_path: Path) -> Path:
    """A folder with a copy of a record that has a run."""
    assert ledger.start_trial(None, "t", {}, {}).run_id
    assert ledger.flush() == 0
    with (
        closing(sqlite3.connect(record_folder / "mlflow.db")) as source,
        closing(sqlite3.connect(tmp_path / "mlflow.db")) as copy,
    ):
        source.backup(copy)
    return tmp_path


def test_without_an_address_it_is_the_environments_else_beside_the_results(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = open_mlflow(None, None, made)
    assert here.uri == f"sqlite:///{made}/mlflow.db"
    assert here.client.get_experiment(here.experiment_id).name == "tlsweep"
    shutil.copy(made / "mlflow.db", made / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{made}/other.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "birds")
    there = open_mlflow(None, None, made / "results")
    assert there.uri == f"sqlite:///{made}/other.db"
    assert there.client.get_experiment(there.experiment_id).name == "birds"
    given = open_mlflow(f"sqlite:///{made}/mlflow.db", "fish", made)
    assert given.uri == here.uri
    assert given.client.get_experiment(given.experiment_id).name == "fish"


def test_a_damaged_record_of_ours_is_set_aside_and_said_and_a_new_one_begins(made: Path) -> None:
    file = made / "mlflow.db"
    damaged = file.read_bytes()[: file.stat().st_size // 2]
    file.write_bytes(damaged)
    with pytest.warns(RuntimeWarning, match=r"the file is damaged .* It is mlflow\.db\.1 now"):
        record = open_mlflow(None, None, made)
    assert (made / "mlflow.db.1").read_bytes() == damaged
    assert record.start_sweep("s", {}) is not None


def test_a_damaged_database_of_the_users_is_refused_and_left_as_it_is(made: Path) -> None:
    file = made / "mlflow.db"
    damaged = file.read_bytes()[: file.stat().st_size // 2]
    file.write_bytes(damaged)
    with pytest.raises(Refusal, match="the file is damaged"):
        open_mlflow(f"sqlite:///{file}", None, made / "results")
    assert file.read_bytes() == damaged


def test_the_database_of_the_studies_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as connection:
        for name in ("studies", "trials"):
            connection.execute(f"CREATE TABLE {name} (id INTEGER)")
    before = (tmp_path / "optuna.db").read_bytes()
    with pytest.raises(Refusal) as caught:
        open_mlflow(f"sqlite:///{tmp_path}/optuna.db", None, tmp_path)
    (fault,) = caught.value.faults
    assert fault.value.endswith("no database of MLflow, but has the tables studies, trials")
    assert (tmp_path / "optuna.db").read_bytes() == before


def test_a_deleted_experiment_is_refused_with_what_restores_it(made: Path) -> None:
    record = open_mlflow(None, "gone", made)
    record.client.delete_experiment(record.experiment_id)
    with pytest.raises(Refusal) as caught:
        open_mlflow(None, "gone", made)
    (fault,) = caught.value.faults
    assert fault.value.endswith("the experiment gone was deleted")
    wanted = f"mlflow experiments restore --experiment-id {record.experiment_id}"
    assert fault.mend == f"{wanted}, or record.experiment=NAME"


@pytest.mark.slow
def test_whoever_is_killed_while_the_tables_are_made_leaves_nothing_that_keeps_the_next_one_out(
    tmp_path: Path,
) -> None:
    code = (
        "import sys; from pathlib import Path; from tlsweep.record.opening import open_mlflow;"
        "print('ready', flush=True); open_mlflow(None, None, Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    for seconds in (0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(seconds)
        process.kill()
        process.wait()
    record = open_mlflow(None, None, tmp_path)
    assert record.start_sweep("s", {}) is not None
    assert {file.name for file in tmp_path.iterdir()} <= {"mlflow.db", "artifacts", ".spool"}


@pytest.mark.slow
def test_several_processes_that_begin_at_once_make_one_record(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tlsweep.record.opening import open_mlflow;"
        "print(open_mlflow(None, None, Path(sys.argv[1])).experiment_id)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    makers = [subprocess.Popen(command, text=True, **pipes) for _ in range(3)]
    said = [maker.communicate(timeout=300) for maker in makers]
    assert [maker.returncode for maker in makers] == [0] * 3, said
    assert len({out for out, _ in said}) == 1
