"""What a study's sampler asks for, draw by draw: the same however often a sweep is interrupted.

Draw i follows from the study's seed, from i, and from how the draws up to ``i - ahead`` ended. The
sampler sees a copy of the study in memory, in which draws have their order; the study itself holds
trials in the order in which they were begun, some of them twice. (NSGA-II, for other apps alone,
keeps more than its trials: interrupted, it goes on otherwise.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tlsweep.study import choice
from tlsweep.study.space import Space, Spaces
from tlsweep.study.view import DRAW, KEY, RETRY_OF, View

OF_SAMPLER = "of_sampler"  # attribute of a trial: what its draw's sampler notes of it
_COUNTS = ("qmc",)  # samplers that count their draws: they are asked for the earlier ones again


@dataclass(frozen=True)
class Sampling:
    """How a study draws. settings: of ``sweep.sampler``; a seed among them stands above ``seed``.

    where: the key that they stand at; known: the samplers there are, by name. Raises Refusal, when
    it is made, for an unknown name or option.
    """

    settings: Mapping[str, Any]
    seed: int
    where: str = "sweep.sampler"
    known: Mapping[str, Callable[..., BaseSampler]] = field(default_factory=lambda: choice.SAMPLERS)

    def __post_init__(self) -> None:
        self.sampler(0)

    @property
    def counts(self) -> bool:
        """Whether the sampler goes through a sequence, one sampler for all draws."""
        return self.settings.get("name") in _COUNTS

    def sampler(self, draw: int) -> BaseSampler:
        """The sampler of one draw, with random numbers of its own."""
        settings = dict(self.settings)
        given = settings.pop("seed", None)
        seed = self.seed if given is None else given
        if not self.counts and draw:
            seed = int(np.random.SeedSequence([abs(seed), draw]).generate_state(1)[0])
        return choice.sampler(settings, seed, self.where, self.known)


@dataclass(frozen=True)
class Drawn:
    """One draw. params: by name; attributes: what its trial is to be noted with."""

    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    overrides: list[str]
    attributes: dict[str, Any]


class Draws:
    """The draws of one study, from a space, as its sampler makes them."""

    def __init__(
        self, sampling: Sampling, directions: Sequence[str], space: Space | Spaces
    ) -> None:
        self.sampling, self.space = sampling, space
        self.memory = optuna.create_study(
            sampler=sampling.sampler(0), directions=[StudyDirection[d.upper()] for d in directions]
        )
        self.known = False  # whether the memory is where the study is
        self.under_way: dict[int, int] = {}  # draw to its number in the study in memory

    def next(self, view: View, hints: Sequence[Mapping[str, Any]], ahead: int) -> Drawn:
        """The next draw.

        view: the study; hints: values that the first draws have, the rest of them is drawn; ahead:
        draws that may be under way at a time.
        """
        draw = view.n_draws
        if not self.known:
            self._take_up(view, hints)
        for place in [p for p in self.under_way if p <= draw - ahead]:
            trial = view.of_draw(place)
            if trial is not None and trial.state.is_finished():
                self._end(self.under_way.pop(place), trial)
        return self._asked(draw, hints)

    def _take_up(self, view: View, hints: Sequence[Mapping[str, Any]]) -> None:
        """Bring the memory to where the study is."""
        self.known = True
        for other in view.all():  # of a study that its user began
            if other.state.is_finished() and not {DRAW, KEY, RETRY_OF} & set(other.user_attrs):
                self.memory.add_trial(other)
        count = len(self.memory.trials)
        for draw in range(view.n_draws):
            if (trial := view.of_draw(draw)) is None:
                continue
            if self.sampling.counts:
                self._asked(draw, hints)
                continue
            begun = optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=trial.params,
                distributions=trial.distributions,
                system_attrs=trial.user_attrs.get(OF_SAMPLER, {}),
            )
            self.under_way[draw] = count
            self.memory.add_trial(begun)
            count += 1

    def _asked(self, draw: int, hints: Sequence[Mapping[str, Any]]) -> Drawn:
        if draw < len(hints):
            self.memory.enqueue_trial(dict(hints[draw]))
        if not self.sampling.counts:
            self.memory.sampler = self.sampling.sampler(draw)
        trial = self.memory.ask()
        overrides = self.space.draw(trial)
        self.under_way[draw] = trial.number
        noted: dict[str, Any] = {DRAW: draw}
        attrs = self.memory._storage.get_trial(trial._trial_id).system_attrs
        if own := {k: v for k, v in attrs.items() if k != "fixed_params"}:
            noted[OF_SAMPLER] = own
        return Drawn(dict(trial.params), dict(trial.distributions), overrides, noted)

    def _end(self, number: int, trial: FrozenTrial) -> None:
        """Let the sampler know how a draw ended."""
        storage, study = self.memory._storage, self.memory._study_id
        mine = storage.get_trial_id_from_study_id_trial_number(study, number)
        for step, value in trial.intermediate_values.items():
            storage.set_trial_intermediate_value(mine, step, value)
        storage.set_trial_state_values(mine, trial.state, trial.values)
