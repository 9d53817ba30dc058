"""A results folder that was moved: the record finds its artifacts again, and only its own."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tlsweep.record.moved import mend_moved
from tlsweep.record.opening import open_mlflow

# in a process of its own, as a command is: MLflow remembers addresses while it runs
NEXT_COMMAND = """
import sys
from pathlib import Path
from tlsweep.record.opening import open_mlflow
folder, run_id, file = sys.argv[1:]
record = open_mlflow(None, "tests", Path(folder))
found = record.delivery.id_of(run_id)
print(*(f.path for f in record.client.list_artifacts(found)))
for run in (run_id, record.start_sweep("later", {})):
    record.keep_files(run, [Path(file)])
record.close()
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a record of one run that kept a file, and the run's id."""
    folder = tmp_path_factory.mktemp("before") / "outputs"
    folder.mkdir()
    record = open_mlflow(None, "tests", folder)
    run_id = record.start_sweep("study", {})
    assert run_id is not None
    (folder / "verdict.json").write_text("{}")
    record.keep_files(run_id, [folder / "verdict.json"])
    assert record.close() == 0
    return folder, run_id


def addresses(folder: Path) -> set[str]:
    """Every address of an artifact that the record in ``folder`` holds."""
    connection = sqlite3.connect(folder / "mlflow.db")
    found = connection.execute(
        "SELECT artifact_location FROM experiments UNION SELECT artifact_uri FROM runs"
    )
    return {row[0] for row in found}


def test_after_a_move_the_next_command_finds_old_files_and_keeps_new_ones_beside_them(
    recorded: tuple[Path, str], tmp_path: Path
) -> None:
    old, run_id = recorded
    moved = tmp_path / "another place"
    shutil.copytree(old, moved)  # the old one may still be there, and is no longer meant
    (moved / "new.txt").write_text("new")
    command = [sys.executable, "-c", NEXT_COMMAND, str(moved), run_id, str(moved / "new.txt")]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["verdict.json"]
    assert len(list((moved / "artifacts").rglob("new.txt"))) == 2
    assert not list((old / "artifacts").rglob("new.txt"))


def test_a_folder_in_its_place_is_left_alone(recorded: tuple[Path, str]) -> None:
    folder = recorded[0]
    before = addresses(folder)
    assert mend_moved(folder) == 0
    assert addresses(folder) == before


def test_addresses_that_are_not_ours_are_left_alone(
    recorded: tuple[Path, str], tmp_path: Path
) -> None:
    """A bucket that somebody named, and a folder whose name only begins like the old one."""
    old = recorded[0]
    moved = tmp_path / "outputs"
    shutil.copytree(old, moved)
    others = {"s3://bucket/artifacts", f"{(old / 'artifacts').as_uri()}_2/run"}
    with sqlite3.connect(moved / "mlflow.db") as connection:
        for n, address in enumerate(sorted(others)):
            connection.execute(
                "INSERT INTO runs (run_uuid, artifact_uri, experiment_id) VALUES (?, ?, 1)",
                (f"{n}" * 32, address),
            )
    assert mend_moved(moved) == 2  # the experiment and its run
    assert others <= addresses(moved)
    now = (moved / "artifacts").as_uri()
    assert {a for a in addresses(moved) if a.startswith(now)} == addresses(moved) - others - {
        a
        for a in addresses(moved)
        if a.endswith("/0")  # MLflow's own default experiment
    }


def test_where_there_is_no_record_nothing_is_made(tmp_path: Path) -> None:
    assert mend_moved(tmp_path) == 0
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mlflow.db").write_bytes(b"")  # MLflow has not made its tables yet
    assert mend_moved(tmp_path) == 0
