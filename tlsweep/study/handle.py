"""A trial as the job that runs it sees it: it reports, asks whether to stop, and tells its end.

The job tells the study its result itself. A launcher that loses a job's return value (a killed
worker, a neighbour's crash) then loses no finished trial.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Any

import optuna
import psutil
from optuna.trial import TrialState

from tlsweep.errors import masked
from tlsweep.study.choice import pruner
from tlsweep.study.storage import open_storage


class TrialHandle:
    """One running trial of a study in storage."""

    def __init__(self, storage: str, study: str, number: int) -> None:
        self.study = optuna.load_study(study_name=study, storage=open_storage(storage))
        # a study in storage forgets its pruner; its ledger has kept the pruner's settings
        self.study.pruner = pruner(self.study.user_attrs.get("pruner", {"name": "none"}))
        trial_id = self.study._storage.get_trial_id_from_study_id_trial_number(
            self.study._study_id, number
        )
        self.trial = optuna.trial.Trial(self.study, trial_id)

    @property
    def overrides(self) -> tuple[str, ...]:
        """What the trial was asked for with."""
        return tuple(self.trial.user_attrs.get("overrides", ()))

    def begin(self) -> None:
        """Note which process runs the trial, so that a later session can tell whether it lives."""
        self.trial.set_user_attr("worker", this_process())

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Keep facts with the trial (JSON values)."""
        for name, value in attributes.items():
            self.trial.set_user_attr(name, value)

    def report(self, epoch: int, score: float) -> bool:
        """Report an epoch's score. True if the pruner gives the trial up.

        A trial that was asked for by name is not given up: its score is wanted.
        """
        self.trial.report(score, epoch)
        return "key" not in self.trial.user_attrs and self.trial.should_prune()

    def give_up(self, takes: float, minutes: float | None) -> None:
        """Note that the training is given up: it takes so many seconds at least.

        minutes: of the sweep that had no room for it; with more of them it is run again.
        """
        self.note({"takes": round(takes, 1), "given_up_at": minutes})

    def finish(self, score: float, *, pruned: bool) -> None:
        """Tell the study the trial's end."""
        if pruned:
            self.study.tell(self.trial.number, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            self.study.tell(self.trial.number, score, skip_if_finished=True)

    def fail(self, reason: str, *, again: bool = True) -> None:
        """Tell the study that the trial failed, and why.

        again: whether it may succeed once something outside it has been mended.
        """
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):  # the first end holds
            self.trial.set_user_attr("reason", masked(reason))
            self.trial.set_user_attr("again", again)
        self.study.tell(self.trial.number, state=TrialState.FAIL, skip_if_finished=True)


def this_process() -> dict[str, Any]:
    """What identifies this process while it lives, and no other after it."""
    process = psutil.Process()
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": process.create_time()}


def lives(worker: Mapping[str, Any]) -> bool:
    """Whether the process that ``this_process`` described still runs, on this host.

    One on another host counts as gone. A sweep's jobs run on the sweep's own host, and whoever
    asks holds the sweep's lock: that host is down, or is this one under a new name.
    """
    if worker["host"] != socket.gethostname():
        return False
    try:
        process = psutil.Process(worker["pid"])
        if process.status() == psutil.STATUS_ZOMBIE:  # dead, and never collected by its parent
            return False
        return bool(abs(process.create_time() - worker["started"]) < 1.0)
    except psutil.NoSuchProcess:
        return False
