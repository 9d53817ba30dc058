"""The database of a study: SQLite beside the results by default, a server's, or a proxy's.

``grpc://HOST:PORT`` is a spelling of ours for Optuna's gRPC proxy, which stands before one of the
others (``python -m tlsweep proxy``).
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import (
    BaseStorage,
    GrpcStorageProxy,
    RDBStorage,
    run_grpc_proxy_server,
)
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb.models import TrialUserAttributeModel
from optuna.trial import FrozenTrial, TrialState

from tlsweep.errors import Fault, Refusal
from tlsweep.files import sqlite_url
from tlsweep.files.database import Unfit, alone, file_of, make_whole, notice_if_gone, refuse_others
from tlsweep.study.patient import Patient

GRPC = "grpc://"
ANSWERS = 10.0  # seconds within which a proxy answers

optuna.logging.set_verbosity(
    optuna.logging.WARNING
)  # it logs a line a trial, over the progress bar


def default_url(output_dir: Path) -> str:
    """The URL of ``output_dir``/optuna.db; absolute, since jobs may run in other folders."""
    return sqlite_url((output_dir / "optuna.db").absolute())


def open_storage(url: str, where: str = "sweep") -> BaseStorage:
    """The storage behind ``url``, its tables made where they are missing.

    where: the section of the config that its key stands in.
    Raises Refusal if the database cannot be reached, is damaged, or is another tool's.
    """
    try:
        return _opened(url)
    except (*_UNREACHED, Unfit, RuntimeError, ValueError) as error:
        raise Refusal(_not_opened(url, where, error)) from error


_UNREACHED = ImportError, sqlalchemy.exc.SQLAlchemyError, OSError


def note(storage: BaseStorage, trial_id: int, attributes: Mapping[str, Any]) -> None:
    """Keep facts with a trial (JSON values): at once, where the storage can."""
    if hasattr(storage, "set_trial_user_attrs"):
        storage.set_trial_user_attrs(trial_id, attributes)
        return
    for name, value in attributes.items():  # a proxy knows Optuna's questions alone
        storage.set_trial_user_attr(trial_id, name, value)


def serve(url: str, host: str, port: int) -> None:
    """Stand before the database at ``url`` for whoever connects, until this process is ended.

    Raises Refusal where the database cannot be opened, the port is taken, or gRPC is not installed.
    """
    if url.startswith(GRPC):
        rule = "a proxy stands before a database"
        raise Refusal(Fault(f"sweep.storage={url}", rule, "sweep.storage=URL of the database"))
    storage = open_storage(url)
    try:
        with _used_on_purpose():
            run_grpc_proxy_server(storage, host=host, port=port)
    except (RuntimeError, ImportError) as error:  # gRPC says both with its own words
        reason = str(error).splitlines()[0]
        mend = "another port=; or pip install 'tlsweep[grpc]'"
        raise Refusal(Fault(f"{host}:{port}: {reason}", "the port is free", mend)) from error


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
    if url.startswith(GRPC):
        rule = "a proxy before the study's database answers there"
        mend = "start it where the database is: python -m tlsweep proxy, or correct the address"
        return Fault(f"{value}: {reason}", rule, mend)
    mend = (
        f"a file that can be written; or {another}"
        if in_a_file
        else f"start that server, or {another}"
    )
    return Fault(f"{value}: {reason}", rule, mend)


@functools.lru_cache(maxsize=8)
def _opened(url: str) -> BaseStorage:
    # once a process: opening checks the schema version, about 0.1 s
    if url.startswith(GRPC):
        return Patient(_proxied(url), f"the proxy at {url}")
    found = _Kept(_tables(url))
    return found if url.startswith("sqlite") else Patient(found, "the study's database")


@contextmanager
def _used_on_purpose() -> Iterator[None]:
    """Within, Optuna does not warn that its proxy may change in a later version."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*grpc", category=ExperimentalWarning)
        yield


def _proxied(url: str) -> BaseStorage:
    """Optuna's client of a proxy. Raises ConnectionError where none answers."""
    host, _, port = url.removeprefix(GRPC).rstrip("/").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("the address of a proxy is grpc://HOST:PORT")
    with _used_on_purpose():
        client = GrpcStorageProxy(host=host, port=int(port))
    client.wait_server_ready(timeout=ANSWERS)
    return client


def _tables(url: str) -> _Rows:
    """The storage of a database of our own, made where it is not there."""
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


def _storage(url: str, options: dict[str, Any]) -> _Rows:
    kind = _LockedRows if url.startswith("sqlite") else _Rows
    # Optuna takes what is in braces for a field of a template
    return kind(re.sub(r"[{}]", r"\g<0>\g<0>", url), engine_kwargs=options)


class _Rows(RDBStorage):
    """Optuna's, with what it cannot be asked: how trials stand, and to note several things."""

    def trial_states(
        self, study_id: int, after: int, there: Collection[int]
    ) -> list[tuple[int, int, TrialState]]:
        """Id, number and state of the trials ``there``, and of a study's with a higher id.

        Both are found by the tables' own keys, however many trials there are.
        """
        if len(there) > _MOST:  # what a statement may hold is limited
            there, after = (), min(there) - 1
        given = {"study": study_id, "after": after, "there": list(there)}
        with self._asked() as session:
            rows = session.execute(_STATES, given).all()
        return [(trial_id, number, TrialState[state]) for trial_id, number, state in rows]

    def set_trial_user_attrs(self, trial_id: int, attributes: Mapping[str, Any]) -> None:
        """Keep several attributes with a trial, all or none: each commit takes its time."""
        with self._asked() as session:
            for name, value in attributes.items():
                self._set_trial_attr_without_commit(
                    session, TrialUserAttributeModel, trial_id, name, value
                )

    @contextmanager
    def _asked(self) -> Iterator[Any]:
        """A session, whose errors are said as Optuna says them."""
        session = self.scoped_session()
        try:
            yield session
            session.commit()
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise StorageInternalError(str(error)) from error
        finally:
            session.close()  # what was not committed is undone


_MOST = 1000
_STATES = sqlalchemy.text(
    "SELECT trial_id, number, state FROM trials WHERE study_id = :study AND trial_id > :after"
    " UNION ALL SELECT trial_id, number, state FROM trials WHERE trial_id IN :there"
    " ORDER BY trial_id"
).bindparams(sqlalchemy.bindparam("there", expanding=True))


class _LockedRows(_Rows):
    """As above, and one of several processes that reach for a trial gets it, on SQLite too.

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


class _Kept(_CachedStorage):
    """Optuna's cache of finished trials, which also tells how trials stand.

    One for all that a process opens: a pruner reads each trial once, not once for every trial.
    """

    def __init__(self, rows: _Rows) -> None:
        super().__init__(rows)
        self.rows = rows
        self._last: dict[int, int] = {}  # by study: up to which id all numbers are known

    def trial_states(
        self, study_id: int, after: int, there: Collection[int]
    ) -> list[tuple[int, int, TrialState]]:
        """As ``_Rows`` does, and keeps which number is which trial."""
        found = self.rows.trial_states(study_id, after, there)
        with self._lock:
            for trial_id, number, _ in found:
                self._study_id_and_number_to_trial_id[study_id, number] = trial_id
            known = self._last.get(study_id, -1)
            if found and after <= known:
                self._last[study_id] = max(known, found[-1][0])
        return found

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna's. One of this process's own that has ended is not read again."""
        trial = super().get_trial(trial_id)
        place = self._trial_id_to_study_id_and_number.get(trial_id)
        if place is not None and trial.state.is_finished():
            with self._lock:
                self._studies[place[0]].trials[place[1]] = trial
        return trial

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """As Optuna's, which looks through all trials of the study for a number that is new."""
        key = study_id, trial_number
        if key not in self._study_id_and_number_to_trial_id:
            self.trial_states(study_id, self._last.get(study_id, -1), ())
        return self._study_id_and_number_to_trial_id[key]

    def set_trial_user_attrs(self, trial_id: int, attributes: Mapping[str, Any]) -> None:
        """As ``_Rows`` does."""
        self.rows.set_trial_user_attrs(trial_id, attributes)

    def set_trial_param(
        self, trial_id: int, name: str, value: float, distribution: BaseDistribution
    ) -> None:
        """As Optuna's, of a trial that the cache has not read, too."""
        self.rows.set_trial_param(trial_id, name, value, distribution)


def _make_fast(engine: sqlalchemy.Engine) -> None:
    # a write-ahead log that is synced at checkpoints: six times faster than SQLite's default, and
    # still whole after a killed process (a power cut can lose the last trials, not the database)
    @sqlalchemy.event.listens_for(engine, "connect")
    def set_pragmas(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
