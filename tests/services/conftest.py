"""Servers that the tests start, and end."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import BINARIES, Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server, started."""
    pytest.importorskip("psycopg")
    if not (BINARIES[-1] / "initdb").exists():
        pytest.skip("no PostgreSQL here")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # its socket has a short path
    if os.getuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("no user postgres, whom the server runs as")
        os.chown(folder, user.pw_uid, user.pw_gid)
    server = Postgres(folder)
    server.control("start")
    yield server
    server.control("stop", "-m", "immediate")
    shutil.rmtree(folder, ignore_errors=True)
