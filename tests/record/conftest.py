"""A real MLflow: a database in a temporary folder, and a server that can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tlsweep.record.mlflow import MlflowLedger
from tlsweep.record.opening import open_mlflow


@pytest.fixture(scope="session")
def record_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the one database of all tests: MLflow takes seconds to make its tables."""
    return tmp_path_factory.mktemp("record")


@pytest.fixture(scope="session")
def ledger(record_folder: Path) -> MlflowLedger:
    """A record in that database."""
    return open_mlflow(None, "tests", record_folder)


@pytest.fixture
def closed_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


Begin = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def begin_server(tmp_path: Path, closed_port: int) -> Iterator[Begin]:
    """Begins this test's tracking server, again after it was killed."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
               "--port", str(closed_port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{tmp_path}/server.db",
               "--artifacts-destination", str(tmp_path / "served")]  # fmt: skip
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                   "MLFLOW_DISABLE_TELEMETRY": "true"}  # fmt: skip
    begun: list[subprocess.Popen[bytes]] = []

    def begin() -> subprocess.Popen[bytes]:
        log = (tmp_path / "server.log").open("ab")
        begun.append(
            subprocess.Popen(
                command,
                env=environment,
                cwd=tmp_path,
                start_new_session=True,
                stdout=log,
                stderr=log,
            )
        )
        _wait_for(f"http://127.0.0.1:{closed_port}", begun[-1])
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def server(begin_server: Begin, closed_port: int) -> tuple[str, subprocess.Popen[bytes]]:
    """A tracking server of this test's own: its address, and its process group's leader."""
    return f"http://127.0.0.1:{closed_port}", begin_server()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail("the MLflow server did not start")
