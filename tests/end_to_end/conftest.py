"""The command line, run as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from short_sweep import Run, Start

WARM = Path(__file__).with_name("warm.py")


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


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Runs one command in a new process, which has imported the libraries already (warm.py)."""
    out, err = (tmp_path_factory.mktemp("said") / name for name in ("out", "err"))
    with subprocess.Popen(
        [sys.executable, str(WARM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def call(
            arguments: Sequence[str], env: Mapping[str, str], cwd: Path
        ) -> subprocess.CompletedProcess[str]:
            wanted = {"arguments": arguments, "env": dict(env), "cwd": str(cwd)}
            server.stdin.write(json.dumps({**wanted, "out": str(out), "err": str(err)}) + "\n")
            server.stdin.flush()
            code = int(server.stdout.readline())
            return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())

        yield call


@pytest.fixture
def tlsweep(start: Start, environment: dict[str, str], tmp_path: Path) -> Run:
    """``python -m tlsweep`` with these arguments, in an empty folder."""
    return lambda *arguments: start(arguments, environment, tmp_path)
