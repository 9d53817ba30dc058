"""Tells MLflow what a spool holds. An entry may be told again, and changes nothing then.

A run has an id of ours, which is known before a server has heard of it: the tag ``tlsweep.run``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from tlsweep.record.logged_model import ToLog, write_mlflow_model
from tlsweep.record.spool import Entry

RUN = "tlsweep.run"  # tag: our id of a run
_DIGEST = "tlsweep.weights"  # tag: which weights a logged model holds
_AT_ONCE = 100  # params and tags of a call: MLflow's own limit
_MODEL_TEXTS = ("digest", "classes", "requirements", "about")
# answers that another try does not change
_FINAL = frozenset({
    "ALREADY_EXISTS", "FEATURE_DISABLED", "INVALID_PARAMETER_VALUE", "INVALID_STATE",
    "NOT_FOUND", "NOT_IMPLEMENTED", "RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_LIMIT_EXCEEDED",
})  # fmt: skip


class Later(Exception):  # noqa: N818 - a word of the project
    """The run above an entry's is not there yet."""


class Delivery:
    """Entries for the runs of one experiment.

    folder: output_dir; no file from elsewhere is told, whatever an entry says.
    """

    def __init__(self, client: MlflowClient, experiment_id: str, folder: Path) -> None:
        self.client, self.experiment_id, self.folder = client, experiment_id, folder.resolve()
        self._known: dict[str, str] = {}

    def tell(self, entry: Entry, *, sure: bool, alone: bool = False) -> None:
        """Tell one entry.

        sure: it was not told before; alone: the run above may be missing for good. Raises Later
        where that may still come, and whatever MLflow raises; ``is_final`` tells which of it.
        """
        tell = getattr(self, f"_{entry['do']}", None) if entry.get("do") in _KINDS else None
        if tell is None:
            raise ValueError("what its writer meant cannot be read")
        if entry["do"] == "begin":
            self._begin(entry, sure=sure, alone=alone)
        elif (run_id := self.id_of(entry["run"])) is not None:  # else it was never begun
            tell(run_id, entry)

    def id_of(self, run: str) -> str | None:
        """MLflow's id of a run that is known by ours; None where it has none yet."""
        if run not in self._known:
            found = self.client.search_runs(
                [self.experiment_id], f"tags.`{RUN}` = '{run}'", max_results=1
            )
            if not found:
                return None
            self._known[run] = str(found[0].info.run_id)
        return self._known[run]

    def answers(self) -> bool:
        """Whether MLflow answers anything at all."""
        try:
            self.client.get_experiment(self.experiment_id)
        except Exception:  # whatever it is: it does not
            return False
        return True

    # ------------------------------------------------------------------ the kinds of entries
    def _begin(self, entry: Entry, *, sure: bool, alone: bool) -> None:
        if not sure and self.id_of(entry["run"]) is not None:
            return
        tags = {**entry["tags"], RUN: entry["run"]}
        if (parent := entry["parent"]) is not None:
            above = self.id_of(parent)
            if above is None and not alone:
                raise Later
            if above is not None:
                tags["mlflow.parentRunId"] = above
        run = self.client.create_run(
            self.experiment_id, start_time=entry["at"], tags=tags, run_name=entry["name"]
        )
        self._known[entry["run"]] = str(run.info.run_id)

    def _log(self, run_id: str, entry: Entry) -> None:
        params = [Param(key, value) for key, value in entry["params"].items()]
        tags = [RunTag(key, value) for key, value in entry["tags"].items()]
        metrics = [Metric(*numbers) for numbers in entry["metrics"]]
        for k in range(0, max(len(params), len(tags), 1), _AT_ONCE):
            now = metrics if k == 0 else []
            at_once = slice(k, k + _AT_ONCE)
            self.client.log_batch(run_id, metrics=now, params=params[at_once], tags=tags[at_once])

    def _go_on(self, run_id: str, entry: Entry) -> None:
        self.client.update_run(run_id, "RUNNING")

    def _end(self, run_id: str, entry: Entry) -> None:
        if entry["name"] is not None:
            self.client.update_run(run_id, name=entry["name"])
        self.client.set_terminated(run_id, entry["status"], entry["at"])

    def _curves(self, run_id: str, entry: Entry) -> None:
        """Points that the run does not show yet: a sweep that goes on tells its verdict again."""
        metrics = []
        for name, points in entry["curves"].items():
            known = self.client.get_metric_history(run_id, name)
            last = {m.step: m.value for m in sorted(known, key=lambda m: m.timestamp)}
            new = [(step, value) for step, value in points if last.get(step) != value]
            metrics += [Metric(name, value, entry["at"], step) for step, value in new]
        self.client.log_batch(run_id, metrics=metrics)

    def _file(self, run_id: str, entry: Entry) -> None:
        self.client.log_artifact(run_id, str(self._inside(entry["path"])))

    def _model(self, run_id: str, entry: Entry) -> None:
        """A LoggedModel of the run: one that holds other weights is replaced."""
        known = self.client.search_logged_models(
            [self.experiment_id], filter_string=f"source_run_id = '{run_id}'"
        )
        whole = [m for m in known if m.status == LoggedModelStatus.READY]
        example = self._inside(entry["example"])
        if not any(m.tags.get(_DIGEST) == entry["digest"] for m in whole):
            texts = {key: entry[key] for key in _MODEL_TEXTS}
            told = np.load(example, allow_pickle=False)
            self._log_model(run_id, ToLog(self._inside(entry["program"]), example=told, **texts))
            for old in known:
                self.client.delete_logged_model(old.model_id)
        example.unlink(missing_ok=True)

    def _log_model(self, run_id: str, model: ToLog) -> None:
        made = self.client.create_logged_model(
            self.experiment_id, "model", run_id, tags={**model.about, _DIGEST: model.digest}
        )
        with tempfile.TemporaryDirectory(prefix="tlsweep-model-") as folder:
            written = write_mlflow_model(model, Path(folder) / "model")
            self.client.log_model_artifacts(made.model_id, str(written))
        self.client.finalize_logged_model(made.model_id, LoggedModelStatus.READY)
        self.client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])

    def _inside(self, path: str) -> Path:
        """A file of the results, by its place in output_dir."""
        found = (self.folder / path).resolve()
        if not found.is_relative_to(self.folder):
            raise ValueError(f"{path} is not in {self.folder}")
        return found


_KINDS = ("begin", "log", "go_on", "end", "curves", "file", "model")


def is_final(error: Exception) -> bool:
    """Whether another try of the same entry would end in the same way."""
    if isinstance(error, MlflowException):
        return error.error_code in _FINAL
    return isinstance(error, FileNotFoundError | ValueError | TypeError | KeyError)


def about(model: ToLog, place: Mapping[str, Any]) -> Entry:
    """A model as an entry holds it. place: where its program and its example lie."""
    return {**place, **{key: getattr(model, key) for key in _MODEL_TEXTS}}
