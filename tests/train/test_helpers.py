"""Processes that work for another one: replaced when they are lost, ended when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import helpers_driver
import psutil
import pytest

from tlsweep.engine.helpers import TRIES, Helpers
from tlsweep.errors import TlsweepError


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with two helpers."""
    line = [sys.executable, helpers_driver.__file__, str(tmp_path)]
    begun = subprocess.Popen(line, env={**os.environ, "TLSWEEP_MARK": "mine"}, cwd=tmp_path)
    yield begun
    begun.kill()
    begun.wait()


def at_work(folder: Path) -> list[psutil.Process]:
    found = [int(file.name) for file in folder.iterdir() if file.name.isdigit()]
    return [psutil.Process(pid) for pid in found if psutil.pid_exists(pid)]


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_helper_that_was_killed_is_replaced_and_all_end_with_their_parent(
    driver: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    until(lambda: len(at_work(tmp_path)) == 2)
    first = at_work(tmp_path)
    first[0].kill()
    until(lambda: len([p for p in at_work(tmp_path) if p not in first]) == 1)
    helpers = [p for p in at_work(tmp_path) if p.is_running()]
    driver.kill()
    driver.wait()
    gone, alive = psutil.wait_procs(helpers, timeout=10)
    assert alive == []
    assert len(gone) >= 2


def test_helpers_have_their_threads_and_the_place_and_environment_of_their_parent(
    driver: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    until(lambda: len(at_work(tmp_path)) == 2)
    for process in at_work(tmp_path):
        said = (tmp_path / str(process.pid)).read_text()
        assert said == f"3 mine {tmp_path}"


@pytest.mark.slow
def test_helpers_that_are_ended_may_give_back_what_they_are_at(
    driver: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    until(lambda: len(at_work(tmp_path)) == 2)
    helpers = at_work(tmp_path)
    (tmp_path / "stop").touch()
    assert driver.wait(timeout=30) == 0
    assert all((tmp_path / f"{p.pid} gave back").exists() for p in helpers)


@pytest.mark.slow
def test_a_helper_that_ends_as_soon_as_it_begins_is_said(tmp_path: Path) -> None:
    helpers = Helpers(1, 1, helpers_driver.end, str(tmp_path))
    try:
        with pytest.raises(TlsweepError, match=rf"ended {TRIES} times .*\(exit code 3\)"):
            until(lambda: helpers.tend() is not None)
    finally:
        helpers.close()
