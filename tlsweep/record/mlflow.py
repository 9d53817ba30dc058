"""The record in MLflow: a database beside the results, or a tracking server.

All that it is told goes through a spool on disk and a thread: no training waits for a server, and
what one does not take now is told later, by this process or by the next one.
"""

from __future__ import annotations

import logging
import shlex
import warnings
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from tlsweep.errors import Fault, Refusal
from tlsweep.record.base import PATIENCE, Params, Record, Recorded, Seen, Status
from tlsweep.record.delivery import Delivery, about
from tlsweep.record.logged_model import ToLog
from tlsweep.record.sender import GONE, Sender
from tlsweep.record.spooled import Spooled, SpooledRun, now

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

_AWAY = MlflowException, OSError


def without_secrets(uri: str) -> str:
    """An address without the name and the password that it may hold: pages are handed on."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri.rstrip("/")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")


class MlflowLedger(Record):
    """Parent and child runs of one MLflow experiment.

    spooled: where this process writes what is to be told.
    """

    def __init__(
        self, client: MlflowClient, experiment_id: str, uri: str, spooled: Spooled
    ) -> None:
        self.client, self.experiment_id, self.uri = client, experiment_id, uri
        self.spooled = spooled
        self.delivery = Delivery(client, experiment_id, spooled.output_dir)
        self._sender = Sender(spooled.folder, self.delivery, lambda: spooled.writer_name)

    def start_sweep(self, study: str, params: Params, known: str | None = None) -> str | None:
        """The parent run of a study: ``known`` taken up again, if this record has it."""
        if known is not None:
            self.flush()  # what the last session left
            if self._may_have(known):
                self._add("go_on", known)
                return known
            said = f"the runs of {study} until now are not in this record: they were recorded"
            said += " elsewhere, or are lost; it goes on in a run of its own"
            warnings.warn(said, RuntimeWarning, stacklevel=2)
        tags = {"tlsweep.study": study, "tlsweep.role": "sweep"}
        return self.spooled.begin(None, study, params, tags)

    def end_sweep(self, run_id: str | None, status: Status, metrics: Mapping[str, float]) -> None:
        """Close the parent run with the verdict's numbers."""
        if run_id is not None:
            SpooledRun(self.spooled, run_id).end(status, metrics)
            self._say()

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
        texts = {key: value[:5000] for key, value in told.items()}
        self._add("log", run_id, metrics=[], params={}, tags=texts)
        points = {name: [*curve.items()] for name, curve in curves.items()}
        self._add("curves", run_id, curves=points, at=now())

    def keep_files(self, run_id: str | None, files: list[Path]) -> None:
        """Log files of the results as artifacts."""
        for file in files if run_id is not None else []:
            self._add("file", str(run_id), path=self._place_of(file))

    def keep_model(self, run_id: str | None, model: ToLog) -> None:
        """A LoggedModel of the run: one that holds other weights is replaced."""
        if run_id is None:
            return
        example = self.spooled.folder / f"{model.digest}.npy"
        example.parent.mkdir(parents=True, exist_ok=True)
        np.save(example, model.example)
        place = {"program": self._place_of(model.program), "example": self._place_of(example)}
        self._add("model", run_id, **about(model, place))

    def start_trial(
        self, parent: str | None, name: str, params: Params, tags: Mapping[str, str]
    ) -> SpooledRun:
        """A child run of ``parent``, or a run of its own."""
        self._say()
        return self.spooled.start_trial(parent, name, params, tags)

    def end_lost(self, run_id: str) -> None:
        """Close a run whose process is gone."""
        reason = f"{GONE}; the trial was run again"
        SpooledRun(self.spooled, run_id).end("killed", {}, reason=reason)

    def recorded(self, run_id: str) -> Recorded:
        """A trial's run by our id or by MLflow's, with every value of every metric."""
        self.flush()
        try:
            run = self.client.get_run(self.delivery.id_of(run_id) or run_id)
            mlflow_id = run.info.run_id
            histories = [self.client.get_metric_history(mlflow_id, n) for n in run.data.metrics]
        except _AWAY as error:
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
        """The address of a run's page, where a server shows it and has heard of it."""
        if not self._served or self._sender.failing or self.flush():
            return ""
        found = self._find(run_id)
        return "" if found is None else f"{self.where_to_look()}/runs/{found}"

    def flush(self, patience: float = PATIENCE) -> int:
        """Wait until all is told that was written by now. Returns how much could not be."""
        return self._sender.drain(patience)

    def close(self, patience: float = PATIENCE, seen: Seen = lambda left: None) -> int:
        """Wait until all is told, or MLflow does not answer for ``patience`` seconds."""
        self.spooled.close()
        left = self._sender.drain(patience, seen)
        self._say()
        self._sender.close()
        return left

    @property
    def _served(self) -> bool:
        return self.uri.startswith(("http://", "https://"))

    def _add(self, do: str, run_id: str, **rest: object) -> None:
        self.spooled.add(do, run_id, **rest)
        self._say()

    def _say(self) -> None:
        for text in self._sender.heard():
            warnings.warn(text, RuntimeWarning, stacklevel=3)

    def _find(self, run_id: str) -> str | None:
        """MLflow's id of a run that is known by ours; None where it has none, or is away."""
        try:
            return self.delivery.id_of(run_id)
        except _AWAY:
            return None

    def _may_have(self, run_id: str) -> bool:
        """Whether MLflow has a run that is known by ours, or is away, and may have it."""
        try:
            return self.delivery.id_of(run_id) is not None
        except _AWAY:
            return True

    def _place_of(self, file: Path) -> str:
        """Where a file of the results lies in output_dir, which may be moved before it is told."""
        return str(file.resolve().relative_to(self.spooled.output_dir.resolve()))
