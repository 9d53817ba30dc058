"""Opening MLflow's record: a database beside the results, or what the user names, checked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from pathlib import Path

import filelock
import sqlalchemy
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from tlsweep.errors import Fault, Refusal
from tlsweep.files import sqlite_url
from tlsweep.files.database import Unfit, alone, make_whole, refuse_others
from tlsweep.record.delivery import is_final
from tlsweep.record.mlflow import MlflowLedger, without_secrets
from tlsweep.record.moved import DATABASE, mend_moved
from tlsweep.record.spool import experiment_of, name_place
from tlsweep.record.spooled import Spooled

EXPERIMENT = "tlsweep"  # where nothing is said


def open_mlflow(tracking_uri: str | None, experiment: str | None, output_dir: Path) -> MlflowLedger:
    """The record at ``tracking_uri``, None: at $MLFLOW_TRACKING_URI, else in output_dir/mlflow.db.

    experiment: its name, None: $MLFLOW_EXPERIMENT_NAME, else tlsweep. A database in output_dir that
    is damaged is set aside, and said: it must not block the study beside it. A server that does not
    answer is told later where this folder was recorded there before. Raises Refusal if the record
    does not answer at first, is another tool's database, or the experiment was deleted.
    """
    given = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    uri = given or sqlite_url(output_dir / DATABASE)
    name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    spooled = Spooled(output_dir, place_of("" if given is None else uri, name))
    try:
        with alone(uri) if _is_database(uri) else contextlib.nullcontext():
            if _is_database(uri):
                _checked(uri, output_dir / DATABASE if given is None else None)
                # asked for anything, MLflow makes its tables
                make_whole(uri, lambda built: MlflowClient(built).get_experiment_by_name(name))
            if given is None:
                mend_moved(output_dir)
            # beside the database; a server knows its own place
            place = None if given else (output_dir / "artifacts").as_uri()
            client = MlflowClient(tracking_uri=uri)
            number = _experiment(client, name, place)
        name_place(spooled.folder, f"{without_secrets(uri)}, experiment {name}", number)
        return MlflowLedger(client, number, uri, spooled)
    except (*_NOT_THERE, Unfit) as error:
        known = experiment_of(spooled.folder) if _is_away(uri, error) else None
        if known is None:
            raise Refusal(_not_opened(uri, error)) from error
    # its sender finds that out, too, and says so
    return MlflowLedger(MlflowClient(tracking_uri=uri), known, uri, spooled)


_NOT_THERE = MlflowException, OSError, ImportError, sqlalchemy.exc.SQLAlchemyError


def place_of(uri: str, experiment: str) -> str:
    """Which part of a spool is for this record: others of the same folder may be for another.

    uri: "" for the database beside the results, which may be moved with them.
    """
    told = json.dumps([without_secrets(uri), experiment])
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def _is_away(uri: str, error: Exception) -> bool:
    """Whether a server does not answer at present: not that it answered with a refusal."""
    return not (_is_database(uri) or isinstance(error, Unfit) or is_final(error))


def _is_database(uri: str) -> bool:
    return uri.split(":")[0].split("+")[0] in ("sqlite", "postgresql", "mysql", "mssql")


def _checked(uri: str, own: Path | None) -> None:
    """Raise Unfit for a database that is not MLflow's. own: the file, where it is of ours."""
    try:
        refuse_others(uri, "MLflow", "experiments")
    except Unfit as error:
        if own is None or not error.damaged:
            raise
        aside = next(
            a for n in range(1, 1000) if not (a := own.with_name(f"{DATABASE}.{n}")).exists()
        )
        for ending in ("", "-wal", "-shm"):
            if (file := own.with_name(f"{DATABASE}{ending}")).exists():
                file.rename(aside.with_name(f"{aside.name}{ending}"))
        said = f"{own}: {error.why}. It is {aside.name} now, and a new record begins"
        warnings.warn(said, RuntimeWarning, stacklevel=2)


def _experiment(client: MlflowClient, name: str, place: str | None) -> str:
    """The id of an experiment, made where there is none. Raises Unfit for a deleted one."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException as error:
            found = client.get_experiment_by_name(name)  # another sweep made it meanwhile
            if found is None or error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    if found.lifecycle_stage == "deleted":
        why = f"the experiment {name} was deleted"
        mend = f"mlflow experiments restore --experiment-id {found.experiment_id}"
        raise Unfit(why, f"{mend}, or record.experiment=NAME")
    return str(found.experiment_id)


def _not_opened(uri: str, error: Exception) -> Fault:
    value = f"record.tracking_uri={uri}"
    if isinstance(error, Unfit):
        rule = "MLflow has a database of its own, whole, and the experiment is there"
        return Fault(f"{value}: {error.why}", rule, error.mend)
    if isinstance(error, filelock.Timeout):
        rule = "one process at a time makes the tables of a database"
        return Fault(value, rule, f"wait for the other one; or remove {error.lock_file}")
    return Fault(
        f"{value}: {str(error).splitlines()[0][:200]}",
        "the MLflow server or database answers before training starts",
        "start it (mlflow server), or use record.tracking_uri=null or record=none",
    )
