"""Databases of studies and records: made by one process at a time, and never another tool's."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from filelock import FileLock
from sqlalchemy.pool import NullPool

from tlsweep.files.unwritten import DELETED

WAIT = 120.0  # seconds that another process may take to make the tables


class Unfit(Exception):  # noqa: N818 - told as a Refusal by who opens the database
    """A database that is not what is wanted. why, mend: for the user; damaged: whether so."""

    def __init__(self, why: str, mend: str, *, damaged: bool = False) -> None:
        super().__init__(why)
        self.why, self.mend, self.damaged = why, mend, damaged


def file_of(url: str) -> Path | None:
    """The file of an SQLite database; None of a server's, and of one in memory."""
    parsed = sqlalchemy.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    in_words = parsed.database.startswith((":memory:", "file:"))
    return None if in_words else Path(parsed.database)


def same(one: str, other: str) -> bool:
    """Whether two URLs lead to one database, whatever driver they name."""
    pair = [sqlalchemy.make_url(url) for url in (one, other)]
    first, second = ((u.get_backend_name(), u.host, u.port, u.database) for u in pair)
    return first == second


@contextmanager
def alone(url: str) -> Iterator[None]:
    """Within, no other process that asks here makes or changes the tables of this database.

    Several sweeps that begin at once would make them at once, and fail. Raises filelock's Timeout
    where another one takes longer than two minutes.
    """
    if (file := file_of(url)) is not None:
        with _alone_with(file):
            yield
        return
    lock = _LOCKS.get(sqlalchemy.make_url(url).get_backend_name())
    if lock is None:
        yield
        return
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    key = int.from_bytes(hashlib.sha256(b"tlsweep").digest()[:4], "big")
    # it goes when the connection does, also that of a process that is killed
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(lock), {"key": key})
        yield


@contextmanager
def _alone_with(file: Path) -> Iterator[None]:
    # a lock would make the folder: that it is missing is told when the file is opened. And what
    # cannot be written needs none: a record may be read where it lies
    if not (file.parent.is_dir() and os.access(file.parent, os.W_OK)):
        yield
        return
    lock_file = file.with_name(f".{file.name}.lock")
    with FileLock(lock_file, timeout=WAIT):
        try:
            yield
        finally:
            # two that waited for it may go on together now: the tables are there, and both see it
            lock_file.unlink(missing_ok=True)


_LOCKS = {
    "postgresql": "SELECT pg_advisory_lock(:key)",
    "mysql": f"SELECT GET_LOCK(CONCAT('tlsweep', :key), {WAIT:.0f})",
    "mariadb": f"SELECT GET_LOCK(CONCAT('tlsweep', :key), {WAIT:.0f})",
}


def make_whole(url: str, make: Callable[[str], object]) -> None:
    """Make an SQLite database that is not there yet, whole or not at all.

    make: makes the tables in the database at the URL that it is given. Whoever is killed while
    tables are made leaves some of them, with which many tools cannot go on.
    """
    file = file_of(url)
    if file is None or (file.is_file() and file.stat().st_size) or not file.parent.is_dir():
        return
    built = file.with_name(f".{file.name}.new")
    for left in file.parent.glob(f"{built.name}*"):  # by a process that was killed
        left.unlink()
    parsed = sqlalchemy.make_url(url).set(database=str(built))
    make(parsed.render_as_string(hide_password=False))
    built.rename(file)


def notice_if_gone(engine: sqlalchemy.Engine, file: Path) -> None:
    """Raise FileNotFoundError where an SQLite file is used that was deleted, or replaced, since.

    The system keeps a deleted file for whoever has it open: all that is written would be lost.
    """

    @sqlalchemy.event.listens_for(engine, "connect")
    def remember(_connection: Any, record: Any) -> None:
        record.info["file"] = _identity(file)

    @sqlalchemy.event.listens_for(engine, "checkout")
    def compare(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info["file"] != _identity(file):
            raise FileNotFoundError(errno.ENOENT, DELETED, str(file))


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def refuse_others(url: str, whose: str, own: str) -> None:
    """Raise Unfit for a database of another tool, and for a damaged file; write nothing.

    whose: the tool that is to use it; own: a table that each of its databases has. A database that
    is not there, or has no tables, will do. Raises SQLAlchemy's errors where it cannot be reached.
    """
    file = file_of(url)
    if file is not None and not (file.is_file() and file.stat().st_size):
        return
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        if file is not None:
            _refuse_damaged(connection, file)
        tables = sqlalchemy.inspect(connection).get_table_names()
    if tables and own not in tables:
        some = ", ".join(sorted(tables)[:3])
        why = (
            f"it is no database of {whose}, but has the tables {some}{', ...' * (len(tables) > 3)}"
        )
        raise Unfit(why, "a database of its own")


def _refuse_damaged(connection: sqlalchemy.Connection, file: Path) -> None:
    try:
        found = connection.execute(sqlalchemy.text("PRAGMA quick_check(1)")).scalar()
    except (sqlalchemy.exc.DatabaseError, UnicodeError) as error:
        found = str(error).splitlines()[0]
        if isinstance(error, sqlalchemy.exc.OperationalError) and "malformed" not in found:
            raise  # locked, or not to be read
    if found != "ok":
        raise Unfit(
            f"the file is damaged ({found})",
            f"a copy of {file.name} from before; or move it away, and all begins anew",
            damaged=True,
        )
