"""A trial as the job that runs it sees it: it reports, asks whether to stop, and tells its end.

The job tells the study its result itself. A launcher that loses a job's return value (a killed
worker, a neighbour's crash) then loses no finished trial.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from tlsweep.errors import masked
from tlsweep.study.alive import BEAT, Beating, this_process
from tlsweep.study.choice import pruner
from tlsweep.study.queue import is_cut_short
from tlsweep.study.storage import note, open_storage


class TrialHandle:
    """One running trial of a study in storage. beat: seconds between two signs of life."""

    def __init__(self, storage: str, study: str, number: int, beat: float = BEAT) -> None:
        self._beat = beat
        self._beating: Beating | None = None
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
        """Note which process runs the trial, and go on to show that it lives, until it ends."""
        if self.trial.user_attrs.get("worker") != this_process():  # another one took it
            self.trial.set_user_attr("worker", this_process())
        over = (optuna.exceptions.UpdateFinishedTrialError,)
        self._beating = Beating(lambda n: self.trial.set_user_attr("beat", n), over, self._beat)

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Keep facts with the trial (JSON values)."""
        note(self.study._storage, self.trial._trial_id, attributes)

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
        """Tell the study the trial's end.

        Warns where the trial was taken up by another process meanwhile, as one that gave no sign of
        life: that one's result counts.
        """
        self._rest()
        end: dict[str, Any] = {"state": TrialState.PRUNED} if pruned else {"values": score}
        if is_cut_short(self.study.tell(self.trial, **end, skip_if_finished=True)):
            said = f"trial {self.trial.number} of {self.study.study_name} was taken up by another"
            said += " process while this one gave no sign of life: this result does not count"
            warnings.warn(said, RuntimeWarning, stacklevel=2)

    def fail(self, reason: str, *, again: bool = True) -> None:
        """Tell the study that the trial failed, and why.

        again: whether it may succeed once something outside it has been mended.
        """
        self._rest()
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):  # the first end holds
            self.note({"reason": masked(reason), "again": again})
        self.study.tell(self.trial, state=TrialState.FAIL, skip_if_finished=True)

    def _rest(self) -> None:
        if self._beating is not None:
            self._beating.stop()
