"""A results folder that was moved: MLflow stores where artifacts are as absolute addresses.

Only the database that lies in the folder itself is touched, and only addresses that it wrote.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

DATABASE, ARTIFACTS = "mlflow.db", "artifacts"
# LoggedModels have an address of their own, from MLflow 3 on
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
)


def mend_moved(folder: Path) -> int:
    """Let the record in ``folder`` find the artifacts beside it. Returns the addresses mended.

    The addresses of experiments name the folder as it was called when they were made; all below
    such an address follow. Nothing is done where there is no record yet, or where all is in place.
    """
    database, now = folder / DATABASE, (folder / ARTIFACTS).as_uri()
    if not database.is_file():
        return 0
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if "experiments" not in tables:  # MLflow has not made its tables yet
            return 0
        was = [row[0] for row in connection.execute("SELECT artifact_location FROM experiments")]
        moved = [old for old in was if old and _ours(old) and old != now]
        with connection:  # all of them or none
            return sum(_replaced(connection, tables, old, now) for old in moved)


def _ours(address: str) -> bool:
    """Whether we made this address: MLflow's own default experiment has another one."""
    return address.startswith("file:///") and address.endswith(f"/{ARTIFACTS}")


def _replaced(connection: sqlite3.Connection, tables: set[str], old: str, now: str) -> int:
    count = 0
    for table, column in COLUMNS:
        if table in tables:
            done = connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (now, len(old) + 1, old, len(old) + 1, f"{old}/"),
            )
            count += done.rowcount
    return count
