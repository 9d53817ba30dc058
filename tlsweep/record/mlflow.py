"""The record in MLflow: a database beside the results, or a tracking server.

A record that breaks while trials train must not break them: after the first contact, a failing
call is said once on the screen and training goes on.
"""

from __future__ import annotations

import logging
import shlex
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from tlsweep.errors import Fault, Refusal, masked
from tlsweep.record.base import Params, Record, Recorded, Status, TrialRun
from tlsweep.record.logged_model import ToLog, write_mlflow_model

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

FLUSH_SECONDS = 2.0  # a database call takes 5 to 30 ms, as long as an epoch of a small network
_DIGEST = "tlsweep.weights"  # tag: which weights a logged model holds
_MLFLOW_STATUS: dict[Status, str] = {
    "finished": "FINISHED",
    "pruned": "FINISHED",  # MLflow has no such state; the tag tlsweep.status says it
    "failed": "FAILED",
    "killed": "KILLED",
}


def without_secrets(uri: str) -> str:
    """An address without the name and the password that it may hold: pages are handed on."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri.rstrip("/")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")


class _Careful:
    """Calls that may fail without harm, said once."""

    def __init__(self) -> None:
        self.said = False

    def __call__(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options)
        except (MlflowException, OSError) as error:
            if not self.said:
                why = masked(str(error).splitlines()[0])[:200]
                warnings.warn(
                    f"MLflow does not record at present ({why}); training goes on, and the study"
                    " keeps its results",
                    RuntimeWarning,
                    stacklevel=3,
                )
            self.said = True
            return None


class MlflowTrialRun(TrialRun):
    """One child run. Metrics are sent every few seconds and at the end."""

    def __init__(
        self, client: MlflowClient, run_id: str | None, careful: _Careful, name: str = ""
    ) -> None:
        self.client, self.run_id, self.careful, self.name = client, run_id, careful, name
        self.waiting: list[Metric] = []
        self.sent = time.monotonic()

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Metrics of one epoch, 1 being the first."""
        now = int(time.time() * 1000)
        self.waiting += [Metric(name, value, now, epoch) for name, value in metrics.items()]
        if time.monotonic() - self.sent > FLUSH_SECONDS:
            self._flush()

    def end(
        self,
        status: Status,
        summary: Mapping[str, float],
        *,
        reason: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Send what is left and close the run."""
        now = int(time.time() * 1000)
        self.waiting += [Metric(name, value, now, 0) for name, value in summary.items()]
        ending = {"tlsweep.status": status, **(tags or {})}
        if reason:
            ending["tlsweep.reason"] = reason[:4000]
        self._flush([RunTag(key, value) for key, value in ending.items()])
        if self.run_id is None:
            return
        if status == "pruned" and self.name:  # the list of runs shows names, and no such status
            name = f"{self.name} (stopped early)"
            self.careful(self.client.update_run, self.run_id, name=name)
        self.careful(self.client.set_terminated, self.run_id, _MLFLOW_STATUS[status])

    def _flush(self, tags: list[RunTag] | None = None) -> None:
        if self.run_id is not None:  # else the server was away when the run was to be opened
            send = self.client.log_batch
            self.careful(send, self.run_id, metrics=self.waiting, tags=tags or [])
        self.waiting, self.sent = [], time.monotonic()


class MlflowLedger(Record):
    """Parent and child runs of one MLflow experiment."""

    def __init__(self, client: MlflowClient, experiment_id: str, uri: str) -> None:
        self.client, self.experiment_id, self.uri = client, experiment_id, uri
        self.careful = _Careful()

    def start_sweep(self, study: str, params: Params, known: str | None = None) -> str | None:
        """The parent run of a study: ``known`` taken up again, if this record has it."""
        if known is not None:
            try:
                self.client.update_run(known, "RUNNING")
                return known
            except (MlflowException, OSError):
                said = f"the runs of {study} until now are not in this record: they were recorded"
                said += " elsewhere, or are lost; it goes on in a run of its own"
                warnings.warn(said, RuntimeWarning, stacklevel=2)
        return self._create(study, params, {"tlsweep.study": study, "tlsweep.role": "sweep"})

    def end_sweep(self, run_id: str | None, status: Status, metrics: Mapping[str, float]) -> None:
        """Close the parent run with the verdict's numbers."""
        if run_id is not None:
            for child in self.careful(self._running_children, run_id) or []:
                self.end_lost(child)  # no trial runs any more when its sweep ends
            run = MlflowTrialRun(self.client, run_id, self.careful)
            run.end(status, metrics)

    def tell_verdict(
        self,
        run_id: str | None,
        words: str,
        tags: Mapping[str, str],
        curves: Mapping[str, Mapping[int, float]],
    ) -> None:
        """The description, tags, and curves as metrics whose steps are indices of cut points."""
        if run_id is None:
            return
        told = {"mlflow.note.content": words, **tags}
        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, step)
            for name, points in curves.items()
            for step, value in self._new(run_id, name, points).items()
        ]
        entries = [RunTag(key, value[:5000]) for key, value in told.items()]
        self.careful(self.client.log_batch, run_id, metrics=metrics, tags=entries)

    def _new(self, run_id: str, name: str, points: Mapping[int, float]) -> dict[int, float]:
        """Points that the run does not show yet: a sweep that goes on tells its verdict again."""
        known = self.careful(self.client.get_metric_history, run_id, name) or []
        last = {m.step: m.value for m in sorted(known, key=lambda m: m.timestamp)}
        return {step: value for step, value in points.items() if last.get(step) != value}

    def keep_files(self, run_id: str | None, files: list[Path]) -> None:
        """Log files as artifacts."""
        for file in files if run_id is not None else []:
            self.careful(self.client.log_artifact, run_id, str(file))

    def keep_model(self, run_id: str | None, model: ToLog) -> None:
        """A LoggedModel of the run: one that holds other weights is replaced."""
        if run_id is not None:
            self.careful(self._log_model, run_id, model)

    def _log_model(self, run_id: str, model: ToLog) -> None:
        known = self.client.search_logged_models(
            [self.experiment_id], filter_string=f"source_run_id = '{run_id}'"
        )
        whole = [m for m in known if m.status == LoggedModelStatus.READY]
        if any(m.tags.get(_DIGEST) == model.digest for m in whole):
            return
        for old in known:
            self.client.delete_logged_model(old.model_id)
        made = self.client.create_logged_model(
            self.experiment_id, "model", run_id, tags={**model.about, _DIGEST: model.digest}
        )
        with tempfile.TemporaryDirectory(prefix="tlsweep-model-") as folder:
            written = write_mlflow_model(model, Path(folder) / "model")
            self.client.log_model_artifacts(made.model_id, str(written))
        self.client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
        self.client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])

    def start_trial(
        self, parent: str | None, name: str, params: Params, tags: Mapping[str, str]
    ) -> TrialRun:
        """A child run of ``parent``, or a run of its own."""
        tags = {**tags, "tlsweep.role": "trial"}
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
        run_id = self._create(name, params, tags)
        return MlflowTrialRun(self.client, run_id, self.careful, name)

    def end_lost(self, run_id: str) -> None:
        """Close a run whose process is gone, unless that was done."""
        reason = "its process ended before it did; the trial was run again"
        self.careful(self.client.set_tag, run_id, "tlsweep.reason", reason)
        self.careful(self.client.set_tag, run_id, "tlsweep.status", "killed")
        self.careful(self.client.set_terminated, run_id, "KILLED")

    def recorded(self, run_id: str) -> Recorded:
        """A trial's run, with every value of every metric."""
        try:
            run = self.client.get_run(run_id)
            histories = [self.client.get_metric_history(run_id, name) for name in run.data.metrics]
        except (MlflowException, OSError) as error:
            reason = str(error).splitlines()[0][:200]
            rule = "the run is one of this record; MLflow's page of a run shows its id"
            mend = "output_dir=DIR or record.tracking_uri=URI of the sweep that made it"
            raise Refusal(Fault(f"run={run_id}: {reason}", rule, mend)) from error
        config = run.data.tags.get("tlsweep.config", "")
        if run.data.tags.get("tlsweep.role") != "trial" or not config:
            rule = "a trial is run again: a sweep's own run holds many"
            raise Refusal(Fault(f"run={run_id}", rule, "run=ID of one of the runs below it"))
        metrics = {(m.key, m.step): m.value for history in histories for m in history}
        return Recorded(run.info.run_name or run_id, config, dict(run.data.tags), metrics)

    def where_to_look(self) -> str:
        """The command that opens MLflow's pages on this record, or a server's own page."""
        shown = without_secrets(self.uri)
        if self._served:
            return f"{shown}/#/experiments/{self.experiment_id}"
        return f"mlflow ui --backend-store-uri {shlex.quote(shown)}"

    def link(self, run_id: str) -> str:
        """The address of a run's page, where a server shows it."""
        return f"{self.where_to_look()}/runs/{run_id}" if self._served else ""

    @property
    def _served(self) -> bool:
        return self.uri.startswith(("http://", "https://"))

    def _running_children(self, parent: str) -> list[str]:
        runs = self.client.search_runs(
            [self.experiment_id],
            f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status = 'RUNNING'",
        )
        return [str(run.info.run_id) for run in runs]

    def _create(self, name: str, params: Params, tags: Mapping[str, str]) -> str | None:
        create = self.client.create_run
        run = self.careful(create, self.experiment_id, run_name=name, tags=dict(tags))
        if run is None:
            return None
        entries = [Param(key, str(value)) for key, value in params.items()]
        self.careful(self.client.log_batch, run.info.run_id, params=entries)
        return str(run.info.run_id)
