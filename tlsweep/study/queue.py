"""The waiting trials of one study, as whoever runs them sees them.

A trial is entered whole: what it is to be run with stands in it before anybody can take it. The
database says who gets it, so that any number of workers may take trials of one study, and each
trial is taken once.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from tlsweep.errors import masked
from tlsweep.study.alive import this_process
from tlsweep.study.draws import OF_SAMPLER
from tlsweep.study.view import DRAW, KEY, RETRY_OF, States

ASKS = "asks"  # attribute of a trial: what whoever runs it is told
INTERRUPTED = "interrupted"
GOES_ON = "goes_on"  # of one that was cut short: what its successor is noted with
_KEPT = (KEY, "overrides", "died", "got_to", ASKS, DRAW, OF_SAMPLER)  # by a trial's successor


@dataclass(frozen=True)
class Job:
    """A trial that is to be run now. asks: what it was entered with, as JSON values."""

    number: int
    overrides: tuple[str, ...]
    named: bool = False  # wanted by name, not drawn by the sampler
    asks: Mapping[str, Any] = field(default_factory=dict)


class Queue:
    """The trials of a study that wait, and where one goes that was cut short."""

    def __init__(self, study: optuna.Study) -> None:
        self.study = study
        self._storage = study._storage
        self._states = States(study)

    def trial(self, number: int) -> FrozenTrial:
        """One trial, as it is now; ``study.trials`` would copy them all."""
        study = self.study._study_id
        return self._storage.get_trial(
            self._storage.get_trial_id_from_study_id_trial_number(study, number)
        )

    def enter(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        attributes: Mapping[str, Any],
    ) -> None:
        """Let a trial wait, with all that it is run with, whole or not at all."""
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.WAITING,
                params=dict(params),
                distributions=dict(distributions),
                user_attrs=dict(attributes),
            )
        )

    def take(self) -> FrozenTrial | None:
        """The trial that has waited longest, which is this process's from now on, if there is one.

        Of several workers that reach for the same one a single one gets it.
        """
        self._states.look()
        waiting = [n for n, state in self._states.open.items() if state == TrialState.WAITING]
        for number in waiting:
            trial_id = self._states.ids[number]
            with suppress(UpdateFinishedTrialError):  # another one took it, and is done
                if self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                    self._storage.set_trial_user_attr(trial_id, "worker", this_process())
                    return self._storage.get_trial(trial_id)
        return None

    def give_back(self, trial: FrozenTrial, reason: str, **noted: Any) -> bool:
        """Close a trial that was cut short and let it wait again under a new number.

        noted: attributes of the new one. Returns False where it had come to its end meanwhile.
        """
        with suppress(UpdateFinishedTrialError):
            self.note(trial, GOES_ON, noted)
        if self.close(trial, reason):
            self.enter_again(trial, noted)
        return is_cut_short(self.trial(trial.number))

    def close(self, trial: FrozenTrial, reason: str) -> bool:
        """Close a trial that did not come to its end and does not count.

        Returns whether it was this call that closed it: of an end and several closings that come at
        once, the database lets one be first.
        """
        try:
            self.note(trial, "reason", reason)
            self.note(trial, "cut_short", True)
            self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False
        return True

    def enter_again(self, trial: FrozenTrial, noted: Mapping[str, Any]) -> None:
        """Let a trial that was cut short wait under a new number. noted: attributes of that one."""
        kept = {k: v for k, v in trial.user_attrs.items() if k in _KEPT}
        attributes = {**kept, **noted, RETRY_OF: trial.number}
        if fixed := trial.system_attrs.get("fixed_params"):  # it may not have taken them up
            self.study.enqueue_trial({**fixed, **trial.params}, user_attrs=attributes)
        else:
            self.enter(trial.params, trial.distributions, attributes)

    def fail_if_open(self, number: int, error: BaseException) -> None:
        """Close a trial as failed that did not tell its end itself."""
        if (trial := self.trial(number)).state != TrialState.RUNNING:
            return
        if "reason" not in trial.user_attrs:
            self.note(trial, "reason", masked(f"{type(error).__name__}: {error}"))
        self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    def note(self, trial: FrozenTrial, name: str, value: Any) -> None:
        """Keep an attribute with a trial that has not ended."""
        self._storage.set_trial_user_attr(trial._trial_id, name, value)


def is_cut_short(trial: FrozenTrial) -> bool:
    """Whether a trial ended without having come to its end: it does not count."""
    return trial.state == TrialState.FAIL and "cut_short" in trial.user_attrs


def job_of(trial: FrozenTrial) -> Job:
    """A trial that was taken, as the job of whoever runs it."""
    attrs = trial.user_attrs
    return Job(trial.number, tuple(attrs["overrides"]), KEY in attrs, attrs.get(ASKS, {}))
