"""Paths that mean the same everywhere, the cache folder, and writes that are whole or not there."""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from pathlib import Path
from urllib.parse import unquote

from tlsweep.errors import Fault, Refusal


def at_home(path: str) -> str:
    """``path`` with a leading ``~`` as the user's home; as it is where there is no such user."""
    return os.path.expanduser(path)  # noqa: PTH111 - Path raises where there is none


def in_words(name: str) -> str:
    """A file's name as text that can be written anywhere, with bytes that are no UTF-8 in hex."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def absolute(path: str, seen_from: Path) -> str:
    """``path`` as it is written, but absolute; a leading ``~`` is the user's home."""
    # not by Path, which drops what a name is made of: a last "/." or "/"
    return os.path.join(seen_from, at_home(path))  # noqa: PTH118


def absolute_url(address: str, seen_from: Path) -> str:
    """The address of a database, a server or a folder, its file absolute where it is in one."""
    if address.startswith("sqlite"):
        return _absolute_sqlite(address, seen_from)
    if address.startswith("file:"):
        path = unquote(address.removeprefix("file:"))
        return address if path.startswith("/") else Path(absolute(path, seen_from)).as_uri()
    named = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|databricks(-uc)?$|uc$", address)  # MLflow's own
    return address if named else absolute(address, seen_from)


def _absolute_sqlite(address: str, seen_from: Path) -> str:
    import sqlalchemy

    try:
        url = sqlalchemy.make_url(address)
    except sqlalchemy.exc.ArgumentError:
        return address  # told where it is opened
    if not url.database or url.database.startswith((":memory:", "file:")):
        return address
    if (path := absolute(url.database, seen_from)) == url.database:
        return address
    return url.set(database=path).render_as_string(hide_password=False)


def sqlite_url(file: Path) -> str:
    """The URL of an SQLite database, whatever is in its path."""
    import sqlalchemy

    plain = f"sqlite:///{file}"
    if sqlalchemy.make_url(plain).database == str(file):
        return plain
    # the driver is named, since MLflow makes the folder of "sqlite:///" itself, percents and all
    url = sqlalchemy.URL.create("sqlite+pysqlite", database=str(file))
    return url.render_as_string(hide_password=False)


def cache_folder(given: str | Path | None = None) -> Path:
    """Return ``given``, or $TLSWEEP_CACHE, $XDG_CACHE_HOME/tlsweep, ~/.cache/tlsweep, unmade."""
    if given is not None:
        return Path(given)
    if own := os.environ.get("TLSWEEP_CACHE"):
        return Path(at_home(own))
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(at_home(shared)) / "tlsweep"
    return Path.home() / ".cache" / "tlsweep"


def make_folder(folder: Path) -> Path:
    """``folder``, made if it was not there. Raises Refusal where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Refusal(
            Fault(
                f"cache folder {folder} ({error.strerror})",
                "tlsweep keeps what it makes in a folder that it can write to",
                "TLSWEEP_CACHE=FOLDER in the environment, a folder of your own",
            )
        ) from error
    return folder


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` so that a reader sees the old file or the new one, never a part of it."""
    # not by tempfile, whose files nobody else may read: a study's folder may be a group's
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
