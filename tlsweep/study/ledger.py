"""A study's ledger: which trials are to be run, which are under way, which are done.

The ledger is what makes a sweep resumable. It lives in the study's database, so a session that
was killed at any moment is taken up by the next one: finished trials are counted, the one that
was under way is given back to the queue, and nothing is run twice.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tlsweep.errors import Fault, Refusal, TlsweepError
from tlsweep.study.alive import PATIENCE, Watch, lives
from tlsweep.study.draws import DRAW, OF_SAMPLER, Draws, Sampling
from tlsweep.study.space import Space, Spaces, parameters, suggest
from tlsweep.study.storage import open_storage

Trial = FrozenTrial  # what the rooms above may know of Optuna: a trial's number, value, attributes
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
RETRIES = 2  # of a trial that ended with its process, and again without getting further
_DIED = "its process ended before it did"


class TooManyFailures(TlsweepError):  # noqa: N818 - a word of the project
    """More of the study's trials failed than ``max_failure_rate`` allows."""


@dataclass(frozen=True)
class Item:
    """A trial that is wanted by name. key: its identity in the study; overrides: how to run it."""

    key: str
    overrides: tuple[str, ...]

    @classmethod
    def of(cls, overrides: Sequence[str]) -> Item:
        """The item that is known by its overrides, in whatever order they are written."""
        return cls(" ".join(sorted(overrides)), tuple(overrides))


@dataclass(frozen=True)
class Job:
    """A trial about to be launched."""

    number: int
    overrides: tuple[str, ...]
    named: bool = False  # wanted by name, not drawn by the sampler


@dataclass(frozen=True)
class Ended:
    """How a launched job ended: its return value, or the error that it raised."""

    value: Any = None
    error: BaseException | None = None


Launch = Callable[[Sequence[Job]], Sequence[Ended]]
OnTrial = Callable[[FrozenTrial], None]


@dataclass
class Ledger:
    """The ledger of the study ``name`` in the database at ``storage``.

    sampling: how configurations are drawn; pruner: its settings (``sweep.pruner``), kept with the
    study, where each trial's job reads them;
    typed: which overrides of wanted trials are parameters, so that Optuna's plots show them;
    minutes: of this session; a trial that was given up for want of more is run again with more;
    directions: of the values that a trial ends with; worker: the process that runs all trials,
    where their jobs do not tell it themselves; where: the section of the config that asks;
    called: its key for the study's name;
    patience: seconds that a trial of another machine may give no sign of life;
    facts: what has to be the same whenever the study is taken up (search space, data, training);
    they are kept with the study and compared. Raises Refusal, in ``open``, if they differ.
    """

    storage: str
    name: str
    sampling: Sampling
    pruner: Mapping[str, Any] = field(default_factory=lambda: {"name": "none"})
    facts: Mapping[str, Any] = field(default_factory=dict)
    typed: Mapping[str, BaseDistribution] = field(default_factory=dict)
    minutes: float = math.inf
    on_trial: OnTrial = lambda trial: None
    directions: Sequence[str] = ("maximize",)
    worker: Mapping[str, Any] | None = None
    where: str = "sweep"
    called: str = "study"
    patience: float = PATIENCE
    study: optuna.Study = field(init=False)
    _failed_before: int = 0
    _draws: Draws | None = None
    _ahead: int = 1

    def open(self, *, resume: bool) -> Ledger:
        """Create the study or take it up. Raises Refusal if it exists with other facts."""
        storage = open_storage(self.storage, self.where)
        names = optuna.study.get_all_study_names(storage)
        if self.name in names and not resume:
            raise Refusal(
                Fault(
                    f"{self.called}={self.name}",
                    f"with {self.where}.resume=false a study is new; one of that name exists",
                    f"{self.called}={self.name}_2, or {self.where}.resume=true",
                )
            )
        self.study = optuna.create_study(
            study_name=self.name,
            storage=storage,
            sampler=RandomSampler(0),  # never asked: every trial has all its values
            directions=[StudyDirection[d.upper()] for d in self.directions],
            load_if_exists=True,
        )
        self._refuse_other_directions()
        kept = self.study.user_attrs.get("facts")
        if kept is None and self.called == "study":
            self._refuse_foreign()
        facts = json.loads(json.dumps(dict(self.facts)))  # as the database gives them back
        if kept is None:
            self.study.set_user_attr("facts", facts)
        elif kept != facts:
            raise Refusal(*_differences(self.called, self.name, kept, facts))
        self.remember("pruner", dict(self.pruner))
        return self

    def _refuse_other_directions(self) -> None:
        kept = [d.name.lower() for d in self.study.directions]
        if kept != list(self.directions):
            raise Refusal(
                Fault(
                    f"{self.where}.direction={_listed(self.directions)}; study {self.name} has"
                    f" {_listed(kept)}",
                    "a study goes on in the direction that it was begun with",
                    f"{self.called}={self.name}_2, or {self.where}.direction={_listed(kept)}",
                )
            )

    def _refuse_foreign(self) -> None:
        """A study of a sweep has its facts from the beginning on; one with trials alone has not."""
        if trials := self.trials():
            raise Refusal(
                Fault(
                    f"study={self.name} ({len(trials)} trials of another program)",
                    "a study that a sweep goes on with was begun by a sweep",
                    f"study={self.name}_2, or another {self.where}.storage",
                )
            )

    def remember(self, name: str, value: Any) -> None:
        """Keep a fact about the study with it (a JSON value)."""
        self.study.set_user_attr(name, value)

    def recall(self, name: str) -> Any:
        """What was kept under that name; None if nothing was."""
        return self.study.user_attrs.get(name)

    # ------------------------------------------------------------------ reading
    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The study's trials in these states, in order of their numbers."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def begun(self) -> int:
        """How many trials there are that do not wait."""
        return len(self.trials()) - len(self.trials(TrialState.WAITING))

    def completed(self) -> list[FrozenTrial]:
        """The trials that ran to their end."""
        return self.trials(TrialState.COMPLETE)

    def ended(self) -> list[FrozenTrial]:
        """The trials that ended in any way, but for those that were run again."""
        last = {key: t.number for t in self.trials() if (key := t.user_attrs.get("key"))}
        return [
            t
            for t in self.trials(*COUNTED, TrialState.FAIL)
            if "cut_short" not in t.user_attrs
            and last.get(t.user_attrs.get("key"), t.number) == t.number
        ]

    def given_up(self) -> list[FrozenTrial]:
        """The trials that took too long for the minutes of this session."""
        known = [t for t in self.ended() if "given_up_at" in t.user_attrs]
        return [t for t in known if t.state == TrialState.PRUNED and not self._may_succeed(t)]

    def counted(self) -> list[FrozenTrial]:
        """The trials that the budget counts: finished and pruned ones."""
        return self.trials(*COUNTED)

    # ------------------------------------------------------------------ running
    def reclaim(self) -> list[FrozenTrial]:
        """Give trials whose process is gone back to the queue; wait for those that still run.

        One that ended so three times, and never later than before, failed: it may be what kills
        the process. Call it with the sweep's lock held. Returns the trials that were under way.
        """
        lost = []
        for trial in self.trials(TrialState.RUNNING):
            watch = Watch(self.patience)
            while self._lives(self._trial(trial.number), watch):
                time.sleep(0.5)
            if self._running(trial.number):
                self._run_again(self._trial(trial.number))
                lost.append(trial)
        return lost

    def _lives(self, trial: FrozenTrial, watch: Watch) -> bool:
        """Whether a trial is under way, as far as can be seen from here."""
        if trial.state != TrialState.RUNNING or "worker" not in trial.user_attrs:
            return False
        seen = lives(trial.user_attrs["worker"])
        return watch.moves(trial.user_attrs.get("beat")) if seen is None else seen

    def _run_again(self, trial: FrozenTrial) -> None:
        """Queue a trial again whose process is gone, unless that may be its own doing."""
        before, here = trial.user_attrs.get("got_to", 0), max(trial.intermediate_values, default=0)
        died = 1 if here > before else trial.user_attrs.get("died", 0) + 1
        if died <= RETRIES or self._queued(trial.number):
            self.requeue(trial, _DIED, died=died, got_to=max(here, before))
            return
        self._attribute(trial, "reason", f"{_DIED}, {died} times: it is not run again")
        self._attribute(trial, "again", False)
        self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def requeue(self, trial: FrozenTrial, reason: str, **noted: Any) -> None:
        """Close a trial that was cut short and queue it again under a new number.

        noted: attributes of the new one.
        """
        kept = ("key", "overrides", "died", "got_to", DRAW, OF_SAMPLER)
        attributes = {k: v for k, v in trial.user_attrs.items() if k in kept} | noted
        # queued first: if we are killed between the two, reclaim finds the trial still running
        # and `_queued` finds its successor
        if not self._queued(trial.number):
            # what it was enqueued with counts too: it may have ended before it took that up
            params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            self.study.enqueue_trial(params, user_attrs={**attributes, "retry_of": trial.number})
        self._attribute(trial, "reason", reason)
        self._attribute(trial, "cut_short", True)
        self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def search(
        self,
        space: Space | Spaces,
        launch: Launch,
        *,
        n_trials: int,
        n_jobs: int,
        max_failure_rate: float,
        go_on: Callable[[], bool] = lambda: True,
        failed_count: bool = False,
    ) -> None:
        """Run the sampler's trials until ``n_trials`` are counted, or ``go_on`` says no.

        failed_count: whether the budget counts this session's failures, too.
        """
        self._ahead = n_jobs
        self._failed_before = len(self._failed())  # what made them fail may have been mended
        while (left := n_trials - len(self.counted())) > 0 and go_on():
            self._stop_if_failing(max_failure_rate, n_trials)
            if failed_count and (left := left - len(self._failed_now())) <= 0:
                return
            self._launch([self.ask(space) for _ in range(min(n_jobs, left))], launch)

    def run_list(self, items: Sequence[Item], launch: Launch, *, n_jobs: int) -> None:
        """Run each item once, those that are counted already excepted."""
        self._enqueue(items)
        self._drop_waiting_but({item.key for item in items})
        while waiting := self.trials(TrialState.WAITING):
            self._launch([self.ask(Space()) for _ in waiting[:n_jobs]], launch)

    def of(self, item: Item) -> FrozenTrial | None:
        """The item's finished trial; None where there is none."""
        mine = (t for t in self.completed() if t.user_attrs.get("key") == item.key)
        return next(mine, None)

    def would_run(self, item: Item) -> bool:
        """Whether ``run_list`` would train the item now: not one that ended, well or for good."""
        mine = [t for t in self.trials() if t.user_attrs.get("key") == item.key]
        return not any(
            t.state in (*COUNTED, TrialState.FAIL) and not self._may_succeed(t) for t in mine
        )

    def add_finished(self, item: Item, score: float, attributes: Mapping[str, Any]) -> None:
        """Enter a trial that has its result already, whole or not at all.

        attributes: facts to keep with it (JSON values).
        """
        params = parameters(item.overrides, self.typed)
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.COMPLETE,
                value=score,
                params=params,
                distributions={name: self.typed[name] for name in params},
                user_attrs={"key": item.key, "overrides": list(item.overrides), **attributes},
            )
        )

    def knows(self, item: Item) -> bool:
        """Whether the study has that trial, in whatever state."""
        return any(trial.user_attrs.get("key") == item.key for trial in self.trials())

    def hint(self, params: Sequence[Mapping[str, Any]]) -> None:
        """Let the sampler's first trials have these values; what a hint leaves out it draws.

        Once a study, whatever the session.
        """
        if self.recall("hints") is None:
            self.remember("hints", [dict(values) for values in params])

    def queue(self, points: Sequence[Mapping[str, Any]]) -> int:
        """Let the next trials have these values, but for those that were counted or wait.

        Returns how many trials the study then has that were counted or wait.
        """
        known = [
            t.system_attrs.get("fixed_params", t.params)
            for t in self.trials(*COUNTED, TrialState.WAITING)
        ]
        for values in points:
            if dict(values) not in known:
                self.study.enqueue_trial(dict(values))
        return len(self.trials(*COUNTED, TrialState.WAITING))

    def ask(self, space: Space | Spaces) -> Job:
        """The next trial as a job: one that waits for its turn, else one that the sampler draws."""
        if not self.trials(TrialState.WAITING):
            self._draw(space)
        trial = self.study.ask()
        if self.worker:
            trial.set_user_attr("worker", dict(self.worker))
        if "key" in trial.user_attrs:  # an item of a list: run as it is written
            given = parameters(trial.user_attrs["overrides"], self.typed)
            suggest(trial, {name: self.typed[name] for name in given})
            return Job(trial.number, tuple(trial.user_attrs["overrides"]), named=True)
        # for a trial that is run again these are the values that it had
        overrides = space.draw(trial)
        trial.set_user_attr("overrides", overrides)
        return Job(trial.number, tuple(overrides))

    # ------------------------------------------------------------------ within
    def _draw(self, space: Space | Spaces) -> None:
        """Queue what the sampler asks for next, with all its values."""
        if self._draws is None or self._draws.space is not space:
            self._draws = Draws(self.sampling, self.directions, space)
        drawn = self._draws.next(self.trials(), self.recall("hints") or [], self._ahead)
        self.study.enqueue_trial(drawn.params, user_attrs=drawn.attributes)

    def _enqueue(self, items: Sequence[Item]) -> None:
        # one that failed is run again, once a session: the user may have mended what made it fail.
        # So is one that was cut short, unless its successor is known
        known = {t.user_attrs.get("key") for t in self.trials() if not self._may_succeed(t)}
        for item in items:
            if item.key not in known:
                attributes = {"key": item.key, "overrides": list(item.overrides)}
                params = parameters(item.overrides, self.typed)
                self.study.enqueue_trial(params, user_attrs=attributes)

    def _drop_waiting_but(self, keys: set[str]) -> None:
        # a session that was stopped may have queued items that are not asked for now
        for trial in self.trials(TrialState.WAITING):
            if trial.user_attrs.get("key") not in keys:
                self._attribute(trial, "reason", "no longer wanted")
                self._attribute(trial, "cut_short", True)
                self.study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _launch(self, jobs: Sequence[Job], launch: Launch) -> None:
        try:
            ended = launch(jobs)
        except BaseException:
            # Ctrl-C, or a launcher that lost its workers: what is still open goes back
            for job in jobs:
                if self._running(job.number):
                    self.requeue(self._trial(job.number), "interrupted")
            raise
        for job, end in zip(jobs, ended, strict=True):
            self._close(job, end)
            self.on_trial(self._trial(job.number))

    def _close(self, job: Job, end: Ended) -> None:
        # the job has told its own end; this is for jobs of other apps and for those that died
        trial = self._trial(job.number)
        if trial.state != TrialState.RUNNING:
            return
        if end.error is not None:
            if "reason" not in trial.user_attrs:
                self._attribute(trial, "reason", f"{type(end.error).__name__}: {end.error}")
            self.study.tell(job.number, state=TrialState.FAIL, skip_if_finished=True)
        elif (values := _numbers(end.value, len(self.directions))) is not None:
            self.study.tell(job.number, values, skip_if_finished=True)
        else:
            n = len(self.directions)
            wanted = "a finite number" if n == 1 else f"a list of {n} finite numbers"
            self._attribute(trial, "reason", f"the job returned {end.value}, not {wanted}")
            self.study.tell(job.number, state=TrialState.FAIL, skip_if_finished=True)

    def _stop_if_failing(self, max_failure_rate: float, n_trials: int) -> None:
        failed = self._failed_now()
        if len(failed) > max_failure_rate * n_trials:
            reasons = sorted({str(t.user_attrs.get("reason", "unknown")) for t in failed})
            raise TooManyFailures(
                f"{len(failed)} trials failed, more than {self.where}.max_failure_rate"
                f"={max_failure_rate} of {n_trials} allows. Reasons: "
                + "; ".join(reasons)
                + ". The same command goes on once they are mended; a larger"
                f" {self.where}.max_failure_rate puts up with them."
            )

    def _failed_now(self) -> list[FrozenTrial]:
        return self._failed()[self._failed_before :]

    def _failed(self) -> list[FrozenTrial]:
        return [t for t in self.ended() if t.state == TrialState.FAIL]

    def _trial(self, number: int) -> FrozenTrial:
        """One trial, as it is now; ``study.trials`` would copy them all."""
        storage = self.study._storage
        trial_id = storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)
        return storage.get_trial(trial_id)

    def _running(self, number: int) -> bool:
        return self._trial(number).state == TrialState.RUNNING

    def _queued(self, number: int) -> bool:
        return any(t.user_attrs.get("retry_of") == number for t in self.trials())

    def _may_succeed(self, trial: FrozenTrial) -> bool:
        """Whether a trial that did not run to its end may do so now."""
        if trial.state == TrialState.PRUNED:
            return bool(trial.user_attrs.get("given_up_at", math.inf) < self.minutes)
        return trial.state == TrialState.FAIL and bool(trial.user_attrs.get("again", True))

    def _attribute(self, trial: FrozenTrial, name: str, value: Any) -> None:
        self.study._storage.set_trial_user_attr(trial._trial_id, name, value)


def _numbers(value: Any, n: int) -> list[float] | None:
    """What a job returned, as ``n`` finite numbers; None where it is not that."""
    try:
        values = list(value) if n > 1 else [value]
        if any(isinstance(v, str | bytes) for v in values):  # float() reads digits in a text
            return None
        numbers = [float(v) for v in values]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if len(numbers) == n and all(map(math.isfinite, numbers)) else None


_ONE = "one search space, one source, one target, one training"


def _listed(directions: Sequence[str]) -> str:
    return directions[0] if len(directions) == 1 else f"[{','.join(directions)}]"


def _differences(
    called: str, name: str, kept: Mapping[str, Any], now: Mapping[str, Any]
) -> list[Fault]:
    another = f"{called}={name.split('.')[0]}_2"
    if kept.get("layout") != now.get("layout"):
        what = f"study {name}, which another version of tlsweep wrote"
        rule = "a study goes on with the version that began it"
        return [Fault(what, rule, f"{another} to ask again, or that version to go on")]
    faults = [
        Fault(
            f"{key}={now.get(key, '(absent)')}; study {name} has {kept.get(key, '(absent)')}",
            f"a study answers one question: {'one search space' if called != 'study' else _ONE}",
            f"{another} to ask another one, or leave that change out",
        )
        for key in sorted({*kept, *now})
        if kept.get(key) != now.get(key)
    ]
    return faults[:8]


def seconds_of(trial: FrozenTrial) -> float:
    """What a trial's training took, 0 where none was."""
    return float(trial.user_attrs.get("seconds", 0.0))


def reason_of_failure(trial: FrozenTrial) -> str | None:
    """Why a trial failed; None if it did not."""
    if trial.state != TrialState.FAIL:
        return None
    return str(trial.user_attrs.get("reason", "unknown"))
