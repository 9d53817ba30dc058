"""A study's ledger: which trials are to be run, which are under way, which are done.

The ledger is what makes a sweep resumable. It lives in the study's database, so a session that
was killed at any moment is taken up by the next one: finished trials are counted, what was under
way is given back to the queue, and nothing is run twice. Who runs the trials is a crew's business.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tlsweep.errors import Fault, Refusal, TlsweepError
from tlsweep.study.alive import PATIENCE, Watch, lives
from tlsweep.study.crew import Crew, Ended, Launch
from tlsweep.study.draws import Draws, Sampling
from tlsweep.study.queue import ASKS, GOES_ON, INTERRUPTED, Job, Queue, is_cut_short, job_of
from tlsweep.study.space import Space, Spaces, parameters
from tlsweep.study.storage import open_storage
from tlsweep.study.view import DRAW, KEY, View

Trial = FrozenTrial  # what the rooms above may know of Optuna: a trial's number, value, attributes
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
RETRIES = 2  # of a trial that ended with its process, and again without getting further
_DIED = "its process ended before it did"
_LEAD = 8  # trials of a list that wait, for each worker: enough to go on, and few to read
_LOOK = 1.0  # seconds from one look at who lives to the next
_POLL = 0.05  # seconds from one look at who has ended to the next


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


OnTrial = Callable[[FrozenTrial], None]


@dataclass
class Ledger:
    """The ledger of the study ``name`` in the database at ``storage``.

    sampling: how configurations are drawn; pruner: its settings (``sweep.pruner``), kept with the
    study, where each trial's job reads them;
    typed: which overrides of wanted trials are parameters, so that Optuna's plots show them;
    minutes: of this session; a trial that was given up for want of more is run again with more;
    on_trial: told of every trial that ended; on_lost: of every one that ended with its process;
    directions: of the values that a trial ends with; where: the section of the config that asks;
    called: its key for the study's name;
    patience: seconds that a trial of another machine may give no sign of life;
    facts: what has to be the same whenever the study is taken up (search space, data, training);
    they are kept with the study and compared. Raises Refusal, in ``open``, if they differ.
    """

    storage: str = field(repr=False)  # it may hold a password
    name: str
    sampling: Sampling
    pruner: Mapping[str, Any] = field(default_factory=lambda: {"name": "none"})
    facts: Mapping[str, Any] = field(default_factory=dict)
    typed: Mapping[str, BaseDistribution] = field(default_factory=dict)
    minutes: float = math.inf
    on_trial: OnTrial = lambda trial: None
    on_lost: OnTrial = lambda trial: None
    directions: Sequence[str] = ("maximize",)
    where: str = "sweep"
    called: str = "study"
    patience: float = PATIENCE
    study: optuna.Study = field(init=False)
    queue: Queue = field(init=False)
    _view: View = field(init=False)
    _watches: dict[int, Watch] = field(default_factory=dict)
    _open: tuple[int, ...] = ()  # numbers of the trials that are waited for
    _space: Space | Spaces = field(default_factory=Space)
    _failed_before: int = 0
    _known_before: int | None = None
    _entered: set[str] = field(default_factory=set)  # of lists, in this session
    _draws: Draws | None = None

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
        self.queue, self._view = Queue(self.study), View(self.study)
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
    def _seen(self) -> View:
        """The study's trials as they are now."""
        return self._view.look()

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The study's trials in these states, with all that they have noted by now: reads all."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def begun(self) -> int:
        """How many trials there are that do not wait."""
        view = self._seen()
        return len(view) - len(view.open(TrialState.WAITING))

    def completed(self) -> list[FrozenTrial]:
        """The trials that ran to their end."""
        return self._seen().ended(TrialState.COMPLETE)

    def ended(self) -> list[FrozenTrial]:
        """The trials that ended in any way, but for those that were run again."""
        return self._last_of(self._seen().ended(*COUNTED, TrialState.FAIL))

    def given_up(self) -> list[FrozenTrial]:
        """The trials that took too long for the minutes of this session."""
        known = self._last_of(self._seen().ended(TrialState.PRUNED))
        return [t for t in known if "given_up_at" in t.user_attrs and not self._may_succeed(t)]

    def counted(self) -> list[FrozenTrial]:
        """The trials that the budget counts: finished and pruned ones."""
        return self._seen().ended(*COUNTED)

    def n_counted(self) -> int:
        """How many trials the budget counts."""
        return self._seen().n_ended(*COUNTED)

    def _last_of(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Of trials that ended those that were not run again, and ran to an end of their own."""

        def is_last(trial: FrozenTrial) -> bool:
            again = self._view.of_key(trial.user_attrs.get(KEY))
            return not again or again[-1].number == trial.number

        return [t for t in trials if not is_cut_short(t) and is_last(t)]

    # ------------------------------------------------------------------ what was cut short
    def reclaim(self) -> list[FrozenTrial]:
        """Give trials whose process is gone back to the queue; wait for those that still run.

        Returns the trials that were under way and are gone.
        """
        lost = self.look_after()
        while self._seen().open(TrialState.RUNNING):
            time.sleep(0.5)
            lost += self.look_after()
        return lost

    def look_after(self) -> list[FrozenTrial]:
        """Give trials whose process is gone back to the queue, as far as can be seen by now.

        One that ended so three times, and never later than before, failed: it may be what kills
        the process. Only one session of a study looks after its trials. Returns those that it lost.
        """
        view = self._seen()
        for cut in view.ended(TrialState.FAIL):
            if GOES_ON in cut.user_attrs and not view.has_successor(cut):
                # who closed it was killed before it came to that
                self.queue.enter_again(cut, cut.user_attrs[GOES_ON])
        lost = []
        for seen in view.open(TrialState.RUNNING):
            trial = self.queue.trial(seen.number)  # as it is now, with its signs of life
            watch = self._watches.setdefault(trial.number, Watch(self.patience))
            if not self._lives(trial, watch) and self._run_again(trial):
                lost.append(trial)
                self.on_lost(trial)
        return lost

    def _lives(self, trial: FrozenTrial, watch: Watch) -> bool:
        """Whether a trial is under way, as far as can be seen from here."""
        attrs = trial.user_attrs
        # one that was taken this moment has not said by whom
        seen = lives(attrs["worker"]) if "worker" in attrs else None
        return watch.moves(attrs.get("beat")) if seen is None else seen

    def _run_again(self, trial: FrozenTrial) -> bool:
        """Queue a trial again whose process is gone, unless that may be its own doing."""
        before, here = trial.user_attrs.get("got_to", 0), max(trial.intermediate_values, default=0)
        died = 1 if here > before else trial.user_attrs.get("died", 0) + 1
        if died <= RETRIES:
            return self.queue.give_back(trial, _DIED, died=died, got_to=max(here, before))
        with suppress(UpdateFinishedTrialError):  # it came to its end this moment
            self.queue.note(trial, "reason", f"{_DIED}, {died} times: it is not run again")
            self.queue.note(trial, "again", False)
            self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            return True
        return False

    # ------------------------------------------------------------------ running
    def search(
        self,
        space: Space | Spaces,
        crew: Crew,
        *,
        n_trials: int,
        max_failure_rate: float,
        go_on: Callable[[], bool] = lambda: True,
        failed_count: bool = False,
    ) -> None:
        """Let the sampler's trials be run until ``n_trials`` are counted, or ``go_on`` says no.

        Draw i sees how the draws up to i - n ended, of a crew of n, whoever was faster.
        failed_count: whether the budget counts this session's failures, too.
        """
        self._space = space
        self._seen()
        self._failed_before = len(self._failed())  # what made them fail may have been mended
        self._tell_anew(crew, {None})
        while True:
            view = self._seen()
            ended = view.n_ended(*COUNTED) + (len(self._failed_now()) if failed_count else 0)
            if (left := n_trials - ended) > 0:
                self._stop_if_failing(max_failure_rate, n_trials)
            while len(view.open()) < min(crew.n, left) and self._may_draw(crew.n, view) and go_on():
                self._draw(crew, view)
                view.look()
            if not (open_ := view.open()):
                return
            self._go_on(crew, open_)

    def run_list(self, items: Sequence[Item], crew: Crew, *, leave: int = 0) -> None:
        """Let each item be run once, those that are counted already excepted.

        leave: how many may still wait or be under way when it returns.
        """
        keys = {item.key for item in items}
        self._drop_what_waited_but(keys)
        self._tell_anew(crew, keys)
        due = self._due(items)
        while True:
            open_ = self._open_of(keys)
            waiting = sum(t.state == TrialState.WAITING for t in open_)
            for item, noted in due[: max(0, _LEAD * crew.n - waiting)]:
                self._enter(item, crew, noted)
                due.remove((item, noted))
            open_ = self._open_of(keys)
            if len(open_) + len(due) <= leave:
                return
            self._go_on(crew, open_)

    def take(self, n: int) -> list[Job]:
        """Up to ``n`` of the trials that wait, for this process to run."""
        jobs: list[Job] = []
        while len(jobs) < n and (trial := self.queue.take()) is not None:
            jobs.append(job_of(self._whole(trial)))
        return jobs

    def run(self, jobs: Sequence[Job], launch: Launch) -> None:
        """Run jobs that were taken, and close those that did not tell their end themselves."""
        try:
            ended = launch(jobs)
        except BaseException:
            # Ctrl-C, or a launcher that lost its workers: what is still open goes back
            for job in jobs:
                if self._running(job.number):
                    self.queue.give_back(self.queue.trial(job.number), INTERRUPTED)
            raise
        for job, end in zip(jobs, ended, strict=True):
            self._close(job, end)

    def wait(self, tend: Callable[[], None] = lambda: None) -> None:
        """Wait until one at least of the trials that are open has ended.

        tend: called now and then. What has lost its process is given back.
        """
        last = -math.inf
        while not self._some_ended():
            if time.monotonic() - last > _LOOK:
                self.look_after()
                last = time.monotonic()
            tend()
            time.sleep(_POLL)

    def _some_ended(self) -> bool:
        view = self._seen()
        return any(view.trial(number).state.is_finished() for number in self._open)

    def of(self, item: Item) -> FrozenTrial | None:
        """The item's finished trial; None where there is none."""
        mine = self._seen().of_key(item.key)
        return next((t for t in mine if t.state == TrialState.COMPLETE), None)

    def would_run(self, item: Item) -> bool:
        """Whether ``run_list`` would train the item now: not one that ended, well or for good."""
        mine = self._seen().of_key(item.key)
        return not any(t.state.is_finished() and not self._may_succeed(t) for t in mine)

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
                user_attrs={KEY: item.key, "overrides": list(item.overrides), **attributes},
            )
        )

    def knows(self, item: Item) -> bool:
        """Whether the study has that trial, in whatever state."""
        return bool(self._seen().of_key(item.key))

    def hint(self, params: Sequence[Mapping[str, Any]]) -> None:
        """Let the sampler's first trials have these values; what a hint leaves out it draws.

        Once a study, whatever the session.
        """
        if self.recall("hints") is None:
            self.remember("hints", [dict(values) for values in params])

    def queue_points(self, points: Sequence[Mapping[str, Any]]) -> int:
        """Let the next trials have these values, but for those that were counted or wait.

        Returns how many trials the study then has that were counted or wait.
        """
        view = self._seen()
        there = [*view.ended(*COUNTED), *view.open(TrialState.WAITING)]
        known = [t.system_attrs.get("fixed_params", t.params) for t in there]
        for values in points:
            if dict(values) not in known:
                self.study.enqueue_trial(dict(values))
        return view.look().n_ended(*COUNTED) + len(view.open(TrialState.WAITING))

    # ------------------------------------------------------------------ within
    def _draw(self, crew: Crew, view: View) -> None:
        """Let what the sampler asks for next wait."""
        if self._draws is None or self._draws.space is not self._space:
            self._draws = Draws(self.sampling, self.directions, self._space)
        drawn = self._draws.next(view, self.recall("hints") or [], crew.n)
        noted = {"overrides": drawn.overrides, **drawn.attributes}
        asks = crew.asks(drawn.overrides, named=False)
        self.queue.enter(drawn.params, drawn.distributions, {**noted, **_asking(asks)})

    def _may_draw(self, ahead: int, view: View) -> bool:
        """Whether all draws have ended that the next one sees."""
        seen = view.n_draws - ahead  # the last one of them
        return all(t.user_attrs.get(DRAW, math.inf) > seen for t in view.open())

    def _due(self, items: Sequence[Item]) -> list[tuple[Item, dict[str, Any]]]:
        """What of a list is still to be entered, and what to note with it."""
        # one that failed is run again, once a session: the user may have mended what made it fail.
        # So is one that was cut short, unless its successor is known
        view = self._seen()
        due: list[tuple[Item, dict[str, Any]]] = []
        for item in (item for item in items if item.key not in self._entered):
            mine = view.of_key(item.key)
            if not all(map(self._may_succeed, mine)):
                continue
            attrs = mine[-1].user_attrs if mine and is_cut_short(mine[-1]) else {}
            due.append((item, {k: attrs[k] for k in ("died", "got_to") if k in attrs}))
        return due

    def _enter(self, item: Item, crew: Crew, noted: Mapping[str, Any]) -> None:
        self._entered.add(item.key)
        params = parameters(item.overrides, self.typed)
        asks = crew.asks(item.overrides, named=True)
        attributes = {KEY: item.key, "overrides": list(item.overrides), **noted, **_asking(asks)}
        self.queue.enter(params, {name: self.typed[name] for name in params}, attributes)

    def _tell_anew(self, crew: Crew, keys: Container[str | None]) -> None:
        """Tell what waited before this session how it is to be run now."""
        for trial in self._seen().open(TrialState.WAITING):
            if "overrides" in trial.user_attrs and trial.user_attrs.get(KEY) in keys:
                named = KEY in trial.user_attrs
                for name, value in _asking(
                    crew.asks(trial.user_attrs["overrides"], named=named)
                ).items():
                    self.queue.note(trial, name, value)

    def _drop_what_waited_but(self, keys: set[str]) -> None:
        # a session that was stopped may have queued items that are not asked for now
        view = self._seen()
        if self._known_before is None:
            self._known_before = len(view)
        for trial in view.open(TrialState.WAITING):
            before = trial.number < self._known_before
            if before and DRAW not in trial.user_attrs and trial.user_attrs.get(KEY) not in keys:
                self.queue.close(trial, "no longer wanted")

    def _open_of(self, keys: set[str]) -> list[FrozenTrial]:
        return [t for t in self._seen().open() if t.user_attrs.get(KEY) in keys]

    def _go_on(self, crew: Crew, open_: Sequence[FrozenTrial]) -> None:
        """Let the crew work, and tell of each trial that ended."""
        self._open = tuple(trial.number for trial in open_)
        crew.work(self)
        view = self._seen()
        for number in self._open:
            if (trial := view.trial(number)).state.is_finished():
                self._watches.pop(number, None)
                self.on_trial(trial)

    def _whole(self, trial: FrozenTrial) -> FrozenTrial:
        """A trial with its overrides: one that its user queued, or of a grid, has only values."""
        if "overrides" in trial.user_attrs:
            return trial
        overrides = self._space.draw(optuna.trial.Trial(self.study, trial._trial_id))
        self.queue.note(trial, "overrides", overrides)
        return self.queue.trial(trial.number)

    def _close(self, job: Job, end: Ended) -> None:
        # the job has told its own end; this is for jobs of other apps and for those that died
        trial = self._seen().trial(job.number)
        if trial.state != TrialState.RUNNING:
            return
        if end.error is not None:
            self.queue.fail_if_open(job.number, end.error)
        elif (values := _numbers(end.value, len(self.directions))) is not None:
            self.study.tell(job.number, values, skip_if_finished=True)
        else:
            n = len(self.directions)
            wanted = "a finite number" if n == 1 else f"a list of {n} finite numbers"
            self.queue.note(trial, "reason", f"the job returned {end.value}, not {wanted}")
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
        return self._last_of(self._view.ended(TrialState.FAIL))

    def _running(self, number: int) -> bool:
        return self.queue.trial(number).state == TrialState.RUNNING

    def _may_succeed(self, trial: FrozenTrial) -> bool:
        """Whether a trial that did not run to its end may do so now."""
        if trial.state == TrialState.PRUNED:
            return bool(trial.user_attrs.get("given_up_at", math.inf) < self.minutes)
        return trial.state == TrialState.FAIL and bool(trial.user_attrs.get("again", True))


def _asking(asks: Mapping[str, Any]) -> dict[str, Any]:
    return {ASKS: dict(asks)} if asks else {}


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
