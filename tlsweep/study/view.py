"""A study's trials as this process last saw them: what has changed is asked for, and nothing else.

A finished trial never changes, so it is read once. Of the others a look asks the database for the
states alone, a row each, and of new trials; what a look costs does not grow with the study.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

DRAW = "draw"  # attribute of a trial: which draw of the sampler it is
KEY, RETRY_OF = "key", "retry_of"  # what it is wanted by; the trial that it stands for again
_MANY = 50  # trials from which on all are read at once
_ENDS = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
Row = tuple[
    int, int, TrialState
]  # a trial's id in the database, its number in the study, its state


class States:
    """Which trials a study has, and which of them have not ended.

    ids: of the database, by number; open: states of those that wait or run, in order of numbers.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._storage, self._study = study._storage, study._study_id
        self.ids: list[int] = []
        self.open: dict[int, TrialState] = {}

    def look(self) -> list[int]:
        """Take in what is so now. Returns the numbers of new trials, and of those that changed."""
        changed = []
        there = [self.ids[number] for number in self.open]
        for trial_id, number, state in _rows(self._storage, self._study, self.ids, there):
            if number == len(self.ids):
                self.ids.append(trial_id)
            elif self.open.get(number) in (None, state):  # it has ended before, or is as it was
                continue
            changed.append(number)
            if state.is_finished():
                self.open.pop(number, None)
            else:
                self.open[number] = state
        return changed


def _rows(
    storage: BaseStorage, study: int, known: Sequence[int], there: Collection[int]
) -> list[Row]:
    """The trials whose ids are ``there``, and those that come after the ``known`` ones."""
    if hasattr(storage, "trial_states"):
        found: list[Row] = storage.trial_states(study, known[-1] if known else -1, there)
        return found
    # a proxy is asked for trials, whole: there is no shorter question
    if known:
        trials = [storage.get_trial(trial_id) for trial_id in there]
        trials += _following(storage, study, len(known))
    else:
        trials = storage.get_all_trials(study, deepcopy=False)
    return [(trial._trial_id, trial.number, trial.state) for trial in trials]


def _following(storage: BaseStorage, study: int, number: int) -> Iterator[FrozenTrial]:
    while True:
        try:
            trial_id = storage.get_trial_id_from_study_id_trial_number(study, number)
        except KeyError:
            return
        yield storage.get_trial(trial_id)
        number += 1


class View:
    """The trials of a study, whole, as they were at the last ``look``.

    Of one that has not ended, attributes that it gains on its way are not seen: it is read when it
    is new, when its state changes, and when it has ended. n_draws: of the sampler, so far.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._storage, self._study = study._storage, study._study_id
        self._states = States(study)
        self._trials: list[FrozenTrial] = []
        self._open: dict[int, FrozenTrial] = {}
        self._ended: dict[TrialState, list[FrozenTrial]] = {state: [] for state in _ENDS}
        self._of_key: dict[str, list[int]] = {}
        self._of_draw: dict[int, int] = {}
        self._again: set[int] = set()
        self.n_draws = 0

    def look(self) -> View:
        """Take in what is so now."""
        changed = self._states.look()
        if len(changed) > _MANY:
            found = self._storage.get_all_trials(self._study, deepcopy=False)
            trials = [found[number] for number in changed]
        else:
            trials = [self._storage.get_trial(self._states.ids[number]) for number in changed]
        for trial in trials:
            self._keep(trial)
        return self

    def _keep(self, trial: FrozenTrial) -> None:
        if trial.number == len(self._trials):
            self._trials.append(trial)
            self._enter(trial)
        elif trial.number not in self._open:  # it was read as one that had ended, before it was due
            return
        self._trials[trial.number] = trial
        if trial.state.is_finished():
            self._open.pop(trial.number, None)
            insort(self._ended[trial.state], trial, key=lambda t: t.number)
        else:
            self._open[trial.number] = trial

    def _enter(self, trial: FrozenTrial) -> None:
        attrs = trial.user_attrs
        if KEY in attrs:
            self._of_key.setdefault(attrs[KEY], []).append(trial.number)
        if DRAW in attrs:
            self._of_draw[attrs[DRAW]] = trial.number
            self.n_draws = max(self.n_draws, 1 + attrs[DRAW])
        if RETRY_OF in attrs:
            self._again.add(attrs[RETRY_OF])

    # ------------------------------------------------------------------ what was seen
    def __len__(self) -> int:
        return len(self._trials)

    def trial(self, number: int) -> FrozenTrial:
        """One trial."""
        return self._trials[number]

    def all(self) -> Sequence[FrozenTrial]:
        """All trials, in order of their numbers: not to be changed."""
        return self._trials

    def open(self, *states: TrialState) -> list[FrozenTrial]:
        """Those that wait or run, or are in these states, in order of their numbers."""
        return [t for t in self._open.values() if not states or t.state in states]

    def ended(self, *states: TrialState) -> list[FrozenTrial]:
        """Those that ended in these states, in order of their numbers."""
        if len(states) == 1:
            return list(self._ended[states[0]])
        found = [t for state in states for t in self._ended[state]]
        return sorted(found, key=lambda t: t.number)

    def n_ended(self, *states: TrialState) -> int:
        """How many ended in these states."""
        return sum(len(self._ended[state]) for state in states)

    def of_key(self, key: Any) -> list[FrozenTrial]:
        """Those that are wanted by this key, in order of their numbers."""
        return [self._trials[number] for number in self._of_key.get(key, ())]

    def of_draw(self, draw: int) -> FrozenTrial | None:
        """The trial that a draw has now; None where there is none of that draw."""
        number = self._of_draw.get(draw)
        return None if number is None else self._trials[number]

    def has_successor(self, trial: FrozenTrial) -> bool:
        """Whether a trial that was cut short waits again, under a new number, or did."""
        return trial.number in self._again
