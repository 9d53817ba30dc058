"""A PostgreSQL server of these tests' own, on a free port of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path("/usr/bin")]


class Postgres:
    """A server in ``folder``, run by the user postgres: it does not run as root."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._bin = folder, BINARIES[-1]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "-D", str(folder / "data"), "-U", "me", "--auth=trust")

    def _run(self, name: str, *arguments: str) -> None:
        user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        line = [*user, str(self._bin / name), *arguments]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, timeout=60)

    def control(self, *arguments: str) -> None:
        """``pg_ctl``, which waits until it is done."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", log, "-o", options, *arguments)

    def database(self, name: str) -> str:
        """The URL of a new database."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "me"]
        self._run("createdb", *where, name)
        return f"postgresql+psycopg://me:hunter2@127.0.0.1:{self.port}/{name}"
