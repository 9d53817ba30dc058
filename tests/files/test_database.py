"""Databases are made by one process at a time, and nothing is left of that."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from tlsweep.files import database
from tlsweep.files.database import alone, file_of, make_whole, same


def test_within_nobody_else_makes_the_tables_and_after_it_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAIT", 0.1)
    url, lock_file = f"sqlite:///{tmp_path}/a.db", tmp_path / ".a.db.lock"
    with alone(url), pytest.raises(Timeout), FileLock(lock_file, timeout=0.1):
        pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError), alone(url):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with FileLock(lock_file), pytest.raises(Timeout), alone(url):
        pass


def test_a_folder_that_cannot_be_written_or_is_not_there_is_no_reason_to_fail(
    small_disk: Path, tmp_path: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for folder in (small_disk, tmp_path / "none"):
        with alone(f"sqlite:///{folder}/a.db"):
            pass
    assert not (tmp_path / "none").exists()


def test_a_database_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    url, made = f"sqlite:///{tmp_path}/a%20b.db", []

    def make(given: str) -> None:
        made.append(given)
        with closing(sqlite3.connect(str(file_of(given)))) as connection:
            connection.execute("CREATE TABLE studies (id INTEGER)")
            if len(made) == 1:
                raise KeyError("killed")

    with pytest.raises(KeyError):
        make_whole(url, make)
    place = file_of(url)
    assert place is not None
    assert not place.exists()
    make_whole(url, make)
    assert [file.name for file in tmp_path.iterdir()] == [place.name]
    make_whole(url, make)  # it is there
    assert len(made) == 2


def test_one_database_is_known_by_where_it_is() -> None:
    assert same("sqlite:////a/b.db", "sqlite+pysqlite:////a/b.db")
    assert same("postgresql://me:x@host/db", "postgresql+psycopg://you@host/db?sslmode=require")
    assert not same("postgresql://host/db", "postgresql://host:5433/db")
    assert not same("sqlite:////a/b.db", "sqlite:////a/c.db")
    assert file_of("sqlite:////a/b.db") == Path("/a/b.db")
    assert file_of("postgresql://host/db") is None
    assert file_of("sqlite:///:memory:") is None
