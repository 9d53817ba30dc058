"""What a record was not told is told by a command. With a real server: record/test_server_away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsweep.cli import conf_folder
from tlsweep.commands import sync
from tlsweep.errors import Refusal


def test_a_folder_that_is_not_there_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="which is not there"):
        sync.run([f"output_dir={tmp_path}/none", "record=none"], conf_folder())
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_waits_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sync.run([f"output_dir={tmp_path}", "record=none"], conf_folder())
    assert "0 things told of what waited in" in capsys.readouterr().out


def test_what_it_does_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="sync reads output_dir, record"):
        sync.run([f"output_dir={tmp_path}", "plan=finetune"], conf_folder())
