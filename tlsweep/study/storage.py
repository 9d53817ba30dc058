"""The database of a study: SQLite beside the results by default, any SQLAlchemy URL on request."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filelock
import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from tlsweep.errors import Fault, Refusal
from tlsweep.files import sqlite_url
from tlsweep.files.database import Unfit, alone, file_of, make_whole, notice_if_gone, refuse_others

optuna.logging.set_verbosity(
    optuna.logging.WARNING
)  # it logs a line a trial, over the progress bar


def default_url(output_dir: Path) -> str:
    """The URL of ``output_dir``/optuna.db; absolute, since jobs may run in other folders."""
    return sqlite_url((output_dir / "optuna.db").absolute())


def open_storage(url: str, where: str = "sweep") -> RDBStorage:
    """The storage behind ``url``, its tables made where they are missing.

    where: the section of the config that its key stands in.
    Raises Refusal if the database cannot be reached, is damaged, or is another tool's.
    """
    try:
        return _opened(url)
    except (*_UNREACHED, Unfit, RuntimeError, ValueError) as error:
        raise Refusal(_not_opened(url, where, error)) from error


_UNREACHED = ImportError, sqlalchemy.exc.SQLAlchemyError, OSError


def _not_opened(url: str, where: str, error: Exception) -> Fault:
    folder = "output_dir" if where == "sweep" else "hydra.sweep.dir"
    another = f"leave {where}.storage out to use a file in {folder}"
    value = f"{where}.storage={url}"
    if isinstance(error, Unfit):
        rule = "studies have a database of their own, whole"
        return Fault(f"{value}: {error.why}", rule, f"{error.mend}; or {another}")
    if isinstance(error, filelock.Timeout):
        rule = "one process at a time makes the tables of a database"
        return Fault(value, rule, f"wait for the other one; or remove {error.lock_file}")
    reason = str(error).splitlines()[0]
    if isinstance(error, RuntimeError):  # of Optuna: other tables than those of this version
        rule = "the database was made by this version of Optuna, or one like it"
        mend = f"optuna storage upgrade --storage {url}, or the version of Optuna that made it"
        return Fault(f"{value}: {reason}", rule, mend)
    rule = "the study's database can be opened and written"
    if isinstance(error, sqlalchemy.exc.ArgumentError) and "://" not in url:
        return Fault(f"{value}: {reason}", rule, f"{where}.storage=sqlite:///{url}")
    in_a_file = url.startswith("sqlite")
    mend = (
        f"a file that can be written; or {another}"
        if in_a_file
        else f"start that server, or {another}"
    )
    return Fault(f"{value}: {reason}", rule, mend)


@functools.lru_cache(maxsize=8)
def _opened(url: str) -> RDBStorage:
    # once a process: opening checks the schema version, about 0.1 s
    sqlite = url.startswith("sqlite")
    options: dict[str, Any] = (
        {"connect_args": {"timeout": 60}} if sqlite else {"pool_pre_ping": True}
    )
    with alone(url):
        refuse_others(url, "Optuna", "studies")
        make_whole(url, lambda built: _storage(built, {}).engine.dispose())
        storage = _storage(url, options)
        if sqlite:
            _make_fast(storage.engine)
        if (file := file_of(url)) is not None:
            notice_if_gone(storage.engine, file)
        storage.engine.dispose()  # connections from before the listeners lack the settings
    return storage


def _storage(url: str, options: dict[str, Any]) -> RDBStorage:
    kind = _LockedStorage if url.startswith("sqlite") else RDBStorage
    # Optuna takes what is in braces for a field of a template
    return kind(re.sub(r"[{}]", r"\g<0>\g<0>", url), engine_kwargs=options)


class _LockedStorage(RDBStorage):
    """Optuna's, in which one of several processes that reach for a trial gets it, on SQLite too.

    Optuna reads a trial's state with a lock on its row, which SQLite does not know: between that
    and its write another process could do the same, and both would run the trial.
    """

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As Optuna's. A write that changes nothing locks the database for what follows."""
        session = self.scoped_session()
        try:
            session.execute(_TOUCH, {"id": trial_id})
        except sqlalchemy.exc.SQLAlchemyError as error:
            session.rollback()
            raise StorageInternalError(str(error)) from error
        done: bool = super().set_trial_state_values(trial_id, state, values)
        return done


_TOUCH = sqlalchemy.text("UPDATE trials SET state = state WHERE trial_id = :id")


def _make_fast(engine: sqlalchemy.Engine) -> None:
    # a write-ahead log that is synced at checkpoints: six times faster than SQLite's default, and
    # still whole after a killed process (a power cut can lose the last trials, not the database)
    @sqlalchemy.event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
