"""Whatever is typed: exit 0 or 2, no traceback, and an answer soon.

Each line goes through the real ``cli.main`` in this process: parting, checks, Hydra's composition,
the reading of the config, the parsing of the search space. What comes after the door is left out: a
question is not opened, a trial not run, a record not reached, a model not built (``STOPS``).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any, NoReturn

import pytest
from command_lines import LINES
from hypothesis import HealthCheck, given, settings

from tlsweep import cli
from tlsweep.errors import Fault, Refusal

MANY = int(os.environ.get("TLSWEEP_FUZZ", "10000"))
LONGEST = 20.0  # seconds that a line may take
STOPS = (
    ("tlsweep.trial", "question_of"), ("tlsweep.stages.sources", "question_of"),
    ("tlsweep.stages.grid", "question_of"),
    ("tlsweep.trial", "run"), ("tlsweep.commands.reproduce", "open_record"),
    ("tlsweep.commands.cuts", "_print"),
)  # fmt: skip


def stop(*_: Any, **__: Any) -> NoReturn:
    raise Refusal(Fault("here", "what comes after the door is left out", "train"))


def answer(line: list[str]) -> tuple[int, str]:
    """The exit code of a command, and what it said."""
    said, level = io.StringIO(), logging.getLogger().level
    sys.argv = ["tlsweep", *line]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            cli.main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        return 1, said.getvalue() + traceback.format_exc()
    finally:
        logging.getLogger().setLevel(level)
        os.environ.pop("HYDRA_FULL_ERROR", None)
    return code, said.getvalue()


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to type commands in, with a config of its own; what follows the door is stopped."""
    for module, name in STOPS:
        monkeypatch.setattr(importlib.import_module(module), name, stop)
    (tmp_path / "own.yaml").write_text("defaults: [config, _self_]\nseed: 5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", sys.argv)
    return tmp_path


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_every_command_line_is_answered_or_refused(door: Path) -> None:
    counts: dict[int, int] = {0: 0, 2: 0}
    slowest = (0.0, [""])

    @settings(
        max_examples=MANY, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(LINES)
    def every(line: list[str]) -> None:
        nonlocal slowest
        began = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            code, said = answer(line)
        took = time.monotonic() - began
        slowest = max(slowest, (took, line))
        assert code in (0, 2), f"{line}\n{said}"
        assert "Traceback" not in said, f"{line}\n{said}"
        assert took < LONGEST, line
        assert Path.cwd() == door
        counts[code] += 1

    try:
        every()
    finally:
        print(f"\n{counts[0]} answered, {counts[2]} refused; slowest {slowest}")  # noqa: T201
