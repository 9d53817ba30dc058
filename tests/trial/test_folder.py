"""What a study's trials answered lies in one folder, and nobody writes it into another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tlsweep.errors import Refusal
from tlsweep.study.draws import Sampling
from tlsweep.study.ledger import Ledger
from tlsweep.study.storage import default_url
from tlsweep.trial.folder import FOLDER, refuse_unseen, share


@pytest.fixture
def main(tmp_path: Path) -> Ledger:
    return Ledger(default_url(tmp_path), "s", Sampling({"name": "random"}, 0)).open(resume=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "here" / "s"
    made.mkdir(parents=True)
    return made


def test_sessions_that_name_one_folder_share_it(main: Ledger, folder: Path) -> None:
    share(main, folder, answered=False)
    share(main, folder, answered=True)
    refuse_unseen({FOLDER: main.recall(FOLDER)}, folder, "s")


def test_a_session_in_another_folder_is_refused_once_trials_have_answered(
    main: Ledger, folder: Path, tmp_path: Path
) -> None:
    share(main, folder, answered=False)
    other = tmp_path / "there" / "s"
    other.mkdir(parents=True)
    with pytest.raises(Refusal) as caught:
        share(main, other, answered=True)
    (fault,) = caught.value.faults
    assert fault.value == f"study=s in {other}"
    assert fault.rule.endswith(f"its trials keep what they answered in {folder}")
    assert fault.mend.startswith(f"output_dir={folder.parent}, or the folder that it was moved to")
    share(main, other, answered=False)  # nothing lies in the first one
    assert main.recall(FOLDER)["path"] == str(other)


@pytest.mark.parametrize("take", [shutil.move, shutil.copytree])
def test_a_folder_that_was_moved_or_copied_is_known(
    main: Ledger, folder: Path, tmp_path: Path, take: object
) -> None:
    share(main, folder, answered=False)
    assert callable(take)
    take(str(folder), str(tmp_path / "moved"))
    share(main, tmp_path / "moved", answered=True)


def test_a_worker_that_does_not_see_the_folder_is_refused(
    main: Ledger, folder: Path, tmp_path: Path
) -> None:
    share(main, folder, answered=False)
    (tmp_path / "empty").mkdir()
    for notes in ({}, {FOLDER: main.recall(FOLDER)}):
        with pytest.raises(Refusal) as caught:
            refuse_unseen(notes, tmp_path / "empty", "s")
        assert "mount it here under that name" in caught.value.faults[0].mend
