"""The command line, run as a user runs it: in a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from short_sweep import EndedWell, Run
from warm import Warm


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of all workers of a session, so that the source is trained once."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return shared / "cache"


@pytest.fixture
def environment(cache: Path) -> dict[str, str]:
    """The environment of a user who has set nothing but the cache."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TLSWEEP", "HYDRA", "MLFLOW"))}
    return {**kept, "TLSWEEP_CACHE": str(cache), "COLUMNS": "120"}


@pytest.fixture
def tlsweep(python: Warm, environment: dict[str, str], tmp_path: Path) -> Run:
    """``python -m tlsweep`` with these arguments, in an empty folder."""
    return lambda *arguments: python(["-m", "tlsweep", *arguments], environment, tmp_path)


@pytest.fixture(scope="module")
def ended_well(python: Warm, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> EndedWell:
    """Runs a command into a folder of its own: that folder, and what it printed."""

    def run(*arguments: str) -> tuple[Path, str]:
        output = tmp_path_factory.mktemp("sweep")
        env = {**os.environ, "TLSWEEP_CACHE": str(cache), "COLUMNS": "120"}
        done = python(["-m", "tlsweep", *arguments, f"output_dir={output}"], env, output)
        assert done.returncode == 0, done.stdout + done.stderr
        return output, done.stdout

    return run
