"""A full disk, and results that were deleted under way, are said as what they are."""

from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from pathlib import Path

import optuna
import pytest

from tlsweep.files.unwritten import why_unwritten
from tlsweep.study.storage import open_storage

FULL = "the disk of a database of this sweep is full. Finished trials are kept"


def study_in(folder: Path) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=open_storage(f"sqlite:///{folder}/a.db"))


def fill(disk: Path) -> None:
    """Leave nothing of it, not even a small rest."""
    for size in (2**16, 1):
        with suppress(OSError), (disk / f"rest{size}").open("wb", buffering=0) as rest:
            for _ in range(2**20):
                rest.write(bytes(size))
    assert shutil.disk_usage(disk).free == 0


def test_a_full_disk_is_said_whatever_the_database_makes_of_it(small_disk: Path) -> None:
    study = study_in(small_disk)
    study.ask()
    fill(small_disk)
    with pytest.raises(Exception, match=r"commit|full") as caught:
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2000)
    assert (why_unwritten(caught.value) or "").startswith(FULL)
    (small_disk / f"rest{2**16}").unlink()
    assert study.ask().number >= 1


def test_results_that_were_deleted_under_way_are_noticed_at_the_next_write(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    study = study_in(tmp_path / "out")
    study.ask()
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(Exception, match="deleted while it was in use") as caught:
        study.ask()
    why = why_unwritten(caught.value)
    assert why is not None
    assert why.startswith("a database of this sweep is gone, or cannot be written any more")


def test_a_file_that_does_not_fit_is_named_and_other_errors_are_left_alone() -> None:
    wrapped = RuntimeError("not saved")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/data/a.pt")
    assert (why_unwritten(wrapped) or "").startswith("/data/a.pt: No space left on device. ")
    assert why_unwritten(ValueError("the disk is round")) is None
    assert why_unwritten(OSError(errno.ENOENT, "no such file", "a")) is None
