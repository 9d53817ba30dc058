"""The command line, run as a user runs it: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from short_sweep import Run


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of the session's own, so that the source is trained once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def environment(cache: Path) -> dict[str, str]:
    """The environment of a user who has set nothing but the cache."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TLSWEEP", "HYDRA", "MLFLOW"))}
    return {**kept, "TLSWEEP_CACHE": str(cache), "COLUMNS": "120"}


@pytest.fixture
def tlsweep(environment: dict[str, str], tmp_path: Path) -> Run:
    """``python -m tlsweep`` with these arguments, in an empty folder."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tlsweep", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
            **options,  # type: ignore[call-overload]
        )

    return run
