"""One small sweep with workers, whose processes can be killed, and what became of its trials."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import optuna
import psutil

from tlsweep.study.storage import default_url, open_storage

STUDY = "s"
BESIDE = ("", ".survey", ".first", ".confirm", ".final")
ENDS = ("COMPLETE", "PRUNED")
SETTINGS = (
    "train.epochs=3", "target.fit_size=60", "sweep.minutes=null", "sweep.n_trials=4",
    "sweep.n_jobs=2", "sweep.fixed=[{plan: scratch}, {plan: finetune}]", "sweep.confirm.top=1",
    "sweep.confirm.seeds=2", "sweep.confirm.controls=[scratch]", "sweep.survey.random=false",
)  # fmt: skip
REFUSED, MOST_REFUSED = 2, 20  # exit code; of a sweep that begins while a server is away
TWICE = 2  # a trial that ends with its process three times is held to be what kills it
# of the verdict: what is measured anew, and where it lies
OWN = ("seconds", "command", "created", "folder")


@dataclass(frozen=True)
class Where:
    """Which servers a sweep uses.

    storage: a server's URL, None for SQLite in its folder; seen: where that can be looked at while
    the server is away; record: MLflow's address, None for a file in the folder.
    """

    name: str = "sqlite"
    storage: str | None = None
    seen: str | None = None
    record: str | None = None


class Sweep:
    """A sweep in a folder of its own."""

    def __init__(self, folder: Path, where: Where) -> None:
        self.folder, self.where = folder, where
        shared = where.storage is not None and where.seen is None
        self.study = f"{STUDY}_{folder.name}_{os.getpid()}" if shared else STUDY
        self.storage = where.seen or where.storage or default_url(folder)
        self.refused = 0
        self._sweep: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None

    # ------------------------------------------------------------------ running
    def run_to_end(self) -> None:
        """Run it without a kill."""
        subprocess.run(self._line("-m", *SETTINGS), check=True, stdout=subprocess.DEVNULL)

    def __enter__(self) -> Sweep:
        self.tend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:  # fmt: skip
        for process in (self._sweep, self._worker):
            if process is not None:
                process.kill()
                process.wait()

    def tend(self) -> None:
        """Begin again what was killed, as its user would."""
        code = None if self._sweep is None else self._sweep.poll()
        self.refused += code == REFUSED
        if self._sweep is None or code in (-signal.SIGKILL, REFUSED):
            log = (self.folder.parent / f"{self.folder.name}.txt").open("ab")
            self._sweep = subprocess.Popen(self._line("-m", *SETTINGS), stdout=log, stderr=log)
        if (self._worker is None or self._worker.poll() is not None) and self._may_join():
            self._worker = subprocess.Popen(
                self._line("worker"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )

    def ended(self) -> bool:
        """Whether it ended by itself. Raises RuntimeError where it did not end well."""
        assert self._sweep is not None
        code = self._sweep.poll()
        if code is None or code == -signal.SIGKILL:
            return False
        if code == REFUSED and self.refused < MOST_REFUSED:  # a server was away as it began
            return False
        if code:
            said = (self.folder.parent / f"{self.folder.name}.txt").read_text()[-3000:]
            raise RuntimeError(f"the sweep ended with {code}: {said}")
        return True

    def kill(self, who: str, draw: random.Random) -> int:
        """Kill one, if it is at work. Returns how many were killed."""
        running = [t for t in self.trials() if t.state.name == "RUNNING"]
        if any(t.user_attrs.get("died", 0) >= TWICE - 1 for t in running) or not running:
            return 0
        own = self._own_workers()
        if who == "sweep":
            pids = [self._sweep.pid] if self._sweep is not None else []
        else:
            pids = [t.user_attrs["worker"]["pid"] for t in running if "worker" in t.user_attrs]
            pids = [pid for pid in pids if (pid in own) == (who == "worker")]
        if not pids:
            return 0
        with suppress(ProcessLookupError):
            os.kill(draw.choice(pids), signal.SIGKILL)
            return 1
        return 0

    def _own_workers(self) -> set[int]:
        if self._sweep is None or self._sweep.poll() is not None:
            return set()
        with suppress(psutil.NoSuchProcess):
            return {p.pid for p in psutil.Process(self._sweep.pid).children(recursive=True)}
        return set()

    def _may_join(self) -> bool:
        with suppress(Exception):
            study = optuna.load_study(study_name=self.study, storage=open_storage(self.storage))
            return study.user_attrs.get("leader") is not None
        return False

    def _line(self, command: str, *settings: str) -> list[str]:
        storage = self.where.storage
        given = [] if storage is None else [f"sweep.storage='{storage}'"]
        own = [f"output_dir={self.folder}", f"study={self.study}", *given]
        if self.where.record is not None and command == "-m":
            own += self._record
        return [sys.executable, "-m", "tlsweep", command, *own, *settings]

    @property
    def _record(self) -> list[str]:
        uri, name = self.where.record, self.folder.name
        return [f"record.tracking_uri={uri}", f"record.experiment={name}"]

    def sync(self) -> None:
        """Tell MLflow what it was not told."""
        line = [sys.executable, "-m", "tlsweep", "sync", f"output_dir={self.folder}", *self._record]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)

    def runs(self) -> dict[str, int]:
        """What became of the runs of trials that ended, in MLflow."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self.where.record)
        experiment = client.get_experiment_by_name(self.folder.name).experiment_id
        found = client.search_runs([experiment], max_results=10_000)
        count = Counter(run.data.tags["tlsweep.run"] for run in found)
        ended = {run.data.tags["tlsweep.run"] for run in found if run.info.status == "FINISHED"}
        wanted = [t.user_attrs["run_id"] for t in self.trials() if t.state.name in ENDS]
        return {
            "runs": len(found),
            "runs lost": sum(run not in ended for run in wanted),
            "runs doubled": sum(n - 1 for n in count.values()),
            "runs left open": sum(run.info.status == "RUNNING" for run in found),
        }

    # ------------------------------------------------------------------ looking
    def trials(self) -> list[Any]:
        """All trials of all its studies, as far as there are some."""
        found = []
        for beside in BESIDE:
            with suppress(Exception):
                name, storage = f"{self.study}{beside}", open_storage(self.storage)
                study = optuna.load_study(study_name=name, storage=storage)
                found += study.get_trials(deepcopy=False)
        return found

    def counted(self) -> Counter[str]:
        """Trials that count, by what they are."""
        return Counter(
            " ".join(sorted(t.user_attrs["overrides"]))
            for t in self.trials()
            if t.state.name in ENDS
        )

    def verdict(self) -> dict[str, Any]:
        """Its verdict, without what is measured anew."""
        found = json.loads((self.folder / self.study / "verdict.json").read_text())
        text = json.dumps(_without(found)).replace(str(self.folder), "DIR")
        kept: dict[str, Any] = json.loads(text.replace(self.study, STUDY))
        return kept


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in OWN}
    return [_without(v) for v in value] if isinstance(value, list) else value


def differences(whole: Sweep, killed: Sweep) -> dict[str, int]:
    """What became of a killed sweep's trials, against those of one that nothing was done to."""
    wanted, found = whole.counted(), killed.counted()
    trials = killed.trials()
    return {
        "trials begun": sum(t.state.name != "WAITING" for t in trials),
        "cut short": sum("cut_short" in t.user_attrs for t in trials),
        "ended": sum(found.values()),
        "lost": sum((wanted - found).values()),
        "doubled": sum((found - wanted).values()),
        "other verdict": int(whole.verdict() != killed.verdict()),
    }
