"""The servers of a soak, which are killed as its processes are: MLflow, the proxy, PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "services"))  # it is begun there, too

from postgres import BINARIES, Postgres

UP = 90.0  # seconds that a server may take to begin


class Server(Protocol):
    """Something that can be killed, and begun again."""

    name: str

    def kill(self) -> None:
        """Kill it, and begin it again."""

    def end(self) -> None:
        """Take it away."""


def free_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class _Process:
    """A server that is a process, with all that it begins."""

    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._begin()

    def line(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False

    def _begin(self) -> None:
        until = time.monotonic() + UP
        self._process = self._begun()
        while not self.answers():
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name} does not begin: {self.folder}/{self.name}.txt")
            if self._process.poll() is not None:  # its port is not free yet
                self._process = self._begun()
            time.sleep(0.5)

    def _begun(self) -> subprocess.Popen[bytes]:
        with (self.folder / f"{self.name}.txt").open("ab") as log:
            return subprocess.Popen(
                self.line(), cwd=self.folder, start_new_session=True, stdout=log, stderr=log,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL to all of it; it begins again at once."""
        self.end()
        self._begin()

    def end(self) -> None:
        """SIGKILL to all of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Mlflow(_Process):
    """A tracking server."""

    name = "MLflow server"

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def line(self) -> list[str]:
        """What begins it."""
        return [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port",
                str(self.port), "--workers", "1", "--backend-store-uri",
                f"sqlite:///{self.folder}/runs.db", "--artifacts-destination",
                f"{self.folder}/artifacts"]  # fmt: skip

    def answers(self) -> bool:
        """Whether it does."""
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=1):
            return True
        return False


class Proxy(_Process):
    """tlsweep's proxy, before the SQLite file of one folder."""

    name = "proxy"

    @property
    def uri(self) -> str:
        """Its address."""
        return f"grpc://127.0.0.1:{self.port}"

    def line(self) -> list[str]:
        """What begins it."""
        here = [f"output_dir={self.folder}", f"port={self.port}"]
        return [sys.executable, "-m", "tlsweep", "proxy", *here]


class Database:
    """A PostgreSQL cluster of its own."""

    name = "PostgreSQL"

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # its socket: a short path
        if os.getuid() == 0:
            os.chown(self._folder, pwd.getpwnam("postgres").pw_uid, -1)
        self._server = Postgres(self._folder)
        self._server.control("start")

    @staticmethod
    def is_here() -> bool:
        """Whether PostgreSQL is installed."""
        return bool(BINARIES) and (BINARIES[-1] / "initdb").exists()

    def uri(self, name: str) -> str:
        """A new database's address."""
        return self._server.database(name)

    def kill(self) -> None:
        """Restart it as after a crash."""
        self._server.control("restart", "-m", "immediate")

    def end(self) -> None:
        """Stop it, and remove it."""
        self._server.control("stop", "-m", "immediate")
        shutil.rmtree(self._folder, ignore_errors=True)
