"""One session of a sweep: what its stages share. Its studies, its record, its way to run jobs."""

from __future__ import annotations

import math
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tlsweep import screen
from tlsweep.config.read import read, to_yaml
from tlsweep.config.settings import Settings
from tlsweep.engine.base import Workforce
from tlsweep.engine.registry import open_engine
from tlsweep.errors import Fault, Refusal, masked
from tlsweep.extract.activations import Activations
from tlsweep.facts import LAYOUT
from tlsweep.jobs.bench import Bench, ended
from tlsweep.jobs.line import quoted
from tlsweep.question import Question
from tlsweep.record import Record, open_record
from tlsweep.stages import first_trials
from tlsweep.stages.crews import Act, Elsewhere, Here
from tlsweep.stages.sources import StudySource, recorded
from tlsweep.study import choice, space
from tlsweep.study.crew import Batches, Crew, Ended
from tlsweep.study.draws import Sampling
from tlsweep.study.ledger import Ledger, Trial, reason_of_failure
from tlsweep.study.post import BRIEF, THREADS, Lead, pin_code, refuse_two_leaders
from tlsweep.study.queue import Job, is_cut_short
from tlsweep.study.storage import default_url
from tlsweep.terms import Stage
from tlsweep.trial import question_of, settings_of, study_folder, unwritable
from tlsweep.trial.brief import Brief
from tlsweep.trial.folder import share
from tlsweep.trial.run import Records, not_told
from tlsweep.trial.train import checkpoints_folder
from tlsweep.trial.worker import RunJob, threads_here, with_threads, work_for


@dataclass
class Session:
    """All that the stages of one sweep share.

    settings: of the first source, and of the sweep; plain: overrides of the command line that hold
    in every job; arguments: all of it; also_said: what to know of examples beside the target's;
    began: seconds on the monotonic clock; act: runs a trial that was taken, None to train it;
    record, parent_run: where runs are recorded, workers: the processes that run trials, from
    ``recorded`` on.
    """

    bench: Bench
    settings: Settings
    sources: tuple[StudySource, ...]
    plain: tuple[str, ...]
    shown: screen.Screen
    began: float
    arguments: tuple[str, ...] = ()
    also_said: Sequence[str] = ()
    act: Act | None = None
    record: Record = field(init=False)
    parent_run: str | None = None
    workers: Workforce | None = None
    lead: Lead | None = None

    @property
    def command(self) -> str:
        """The command line that runs the same sweep again, in the folder where it was typed."""
        return masked(shlex.join(["python", *self.line]))

    @property
    def line(self) -> list[str]:
        """That command without ``python``, with whatever passwords it holds."""
        return ["-m", "tlsweep", "-m", *self.bench.own_configs, *self.arguments]

    @property
    def config(self) -> str:
        """What is recorded: the command, and the whole config that it made, as YAML."""
        return f"# {self.command}\n{to_yaml(self.settings)}"

    @property
    def folder(self) -> Path:
        """Where the study's own files are."""
        return study_folder(self.settings)

    @property
    def storage(self) -> str:
        """The URL of the study's database."""
        return self.settings.sweep.storage or default_url(Path(self.settings.output_dir))

    @property
    def question(self) -> Question:
        """The question of the first source: target, task and partition are those of all."""
        return self.sources[0].question

    @property
    def several(self) -> bool:
        """Whether the study compares sources."""
        return len(self.sources) > 1

    @property
    def asks(self) -> str:
        """The question in words."""
        which = [f"{one.called} ({one.question.source.trained_on})" for one in self.sources]
        target = self.question.target.name
        if not self.several:
            return f"how much of {which[0]} to keep for {target}?"
        return f"which of {_or(which)} to take for {target}, and how much of it to keep?"

    def said(self) -> list[str]:
        """What a user should know of the data before anything trains, a sentence each."""
        if not self.several:
            return [*self.question.said(), *self.also_said]
        told = [(one.called, text) for one in self.sources for text in one.question.said()]
        count = Counter(text for _, text in told)
        each = len(self.sources)
        own = (text if count[text] == each else f"{name}: {text}" for name, text in told)
        return [*dict.fromkeys(own), *self.also_said]

    def source_of(self, overrides: Sequence[str]) -> StudySource:
        """The source of a trial, by its overrides."""
        fits = [one for one in self.sources if set(one.overrides) <= set(overrides)]
        return max(fits, key=lambda one: len(one.overrides))

    def inputs(self, source: StudySource) -> Activations:
        """What a source's blocks make of the images."""
        s = self.settings
        return Activations(source.question, s.train, s.features, s.seed)

    @property
    def n_jobs(self) -> int:
        """How many trials are under way at once."""
        return self.settings.engine.abreast

    @cached_property
    def brief(self) -> Brief:
        """What whoever runs a trial is told of all of them."""
        return Brief.of(self.settings, self.storage)

    def facts(self) -> dict[str, Any]:
        """What must stay the same for trials to be comparable: settings, weights and images."""
        return {
            **self.settings.question(),
            "layout": LAYOUT,
            "source.fingerprint": self.question.source.fingerprint,
            "target.fingerprint": self.question.target.fingerprint,
            **recorded(self.sources),
        }

    def ledger(self, name: str, facts: dict[str, Any]) -> Ledger:
        """The ledger of one of this sweep's studies. Raises Refusal if it has other facts."""
        options = self.bench.options
        choice.pruner(options.pruner)  # refused here, not in the first trial
        ledger = Ledger(
            storage=self.storage,
            name=name,
            sampling=Sampling(options.sampler, options.seed),
            pruner=options.pruner,
            typed=space.typed(self._cut_names(), self.bench.options_of("plan")),
            facts=facts,
            minutes=self.settings.sweep.minutes or math.inf,
            patience=self.settings.sweep.patience,
        ).open(resume=options.resume)
        return ledger

    # ------------------------------------------------------------------ smaller pools
    @property
    def smaller_pools(self) -> list[int]:
        """How many labelled examples the smaller pools have that are asked for, sorted."""
        return sorted({n for n in self.settings.sweep.pool_sizes if isinstance(n, int)})

    @property
    def smaller_share(self) -> float:
        """All smaller pools together, as a share of this one."""
        return sum(self.smaller_pools) / len(self.question.partition.pool)

    def of_pool(self, n: int) -> Session:
        """The same question with fewer labelled examples: another study beside this one."""
        sources = tuple(_of_pool(one, n) for one in self.sources)
        key = "target.fit_size="
        plain = (*(o for o in self.plain if not o.lstrip("+").startswith(key)), f"{key}{n}")
        return replace(self, settings=sources[0].settings, sources=sources, plain=plain)

    def join(self, main: Session) -> None:
        """Be recorded within another session's run, and have trials run by its workers."""
        self.record, self.parent_run = main.record, main.parent_run
        self.workers, self.lead, self.brief = main.workers, main.lead, main.brief

    def _cut_names(self) -> list[str]:
        return list(dict.fromkeys(n for one in self.sources for n in one.question.cuts.names))

    @contextmanager
    def recorded(self, *ledgers: Ledger) -> Iterator[None]:
        """Within: the sweep's parent run is open, and trials that were lost wait to be run again.

        The run is closed as what the sweep ended as. Nothing is touched before the ledgers, the
        main one first, have been opened, so that a refused command changes no finished study.
        """
        main, settings = ledgers[0], self.settings
        self._refuse_to_lead(main, answered=any(ledger.n_counted() for ledger in ledgers))
        threads = main.recall(THREADS) or settings.engine.threads_each or threads_here()
        work = work_for(self.brief, main.name, self.folder)
        self.workers = open_engine(settings.engine, work, threads)  # or refused; none begins yet
        self.record = open_record(settings.record, Path(settings.output_dir))
        params: dict[str, str | int | float | bool] = {
            "source": " or ".join(one.called for one in self.sources),
            "target": settings.target.title,
            "stage": "sweep",
            "command": self.command,
            **self._settings(),
            **{f"sweep.params.{key}": str(value) for key, value in settings.sweep.params.items()},
        }
        self.parent_run = self.record.start_sweep(main.name, params, main.recall("parent_run"))
        main.remember("parent_run", self.parent_run)
        (self.folder / "config.yaml").write_text(self.config)
        try:
            for ledger in ledgers:
                ledger.on_lost = self._end_run_of
                ledger.look_after()
            with self._at_work(main, threads):
                yield
            shutil.rmtree(
                checkpoints_folder(self.folder), ignore_errors=True
            )  # of trials that failed
        except KeyboardInterrupt:
            self.record.end_sweep(self.parent_run, "killed", {})
            raise
        except BaseException:
            self.record.end_sweep(self.parent_run, "failed", {})
            raise
        finally:
            self._close_record()

    def _close_record(self) -> None:
        """What was written down is told; a server that is away or slow may be left to its pace."""
        most = 1

        def seen(left: int) -> None:
            nonlocal most
            most = max(most, left)
            self.shown.step(most - left, most, "telling MLflow")

        if left := self.record.close(seen=seen):
            self.shown.say(not_told(left))

    def _end_run_of(self, lost: Trial) -> None:
        if run_id := lost.user_attrs.get("run_id"):
            self.record.end_lost(run_id)

    def _refuse_to_lead(self, main: Ledger, *, answered: bool) -> None:
        """Raise Refusal where another sweep leads the study, by other code, or in another folder.

        answered: whether trials of it have ended.
        """
        patience = self.settings.sweep.patience
        refuse_two_leaders(self.storage, main.name, patience, self.shown.say)
        pin_code(main, self.settings.sweep.code)
        share(main, self.folder, answered=answered)

    @contextmanager
    def _at_work(self, main: Ledger, threads: int) -> Iterator[None]:
        """Within: workers may join, and there are some of its own where several are wanted."""
        main.remember(THREADS, threads)  # another number changes the last digits of every trial
        main.remember(BRIEF, self.brief.note())
        with closing(Lead(main)) as self.lead, with_threads(threads):
            try:
                yield
            finally:
                if self.workers is not None:
                    self.workers.close()

    def _settings(self) -> dict[str, str]:
        """Every setting that the sweep's trials have in common."""
        found = settings_of(self.settings)
        if not self.several:
            return found
        chosen = ", ".join(" ".join(one.overrides) for one in self.sources)
        own = {k: v for k, v in found.items() if not k.startswith("source.")}
        return {**own, "sweep.sources": chosen}

    def crew(
        self, ledger: Ledger, stage: Stage, room: Callable[[], float] = lambda: math.inf
    ) -> Crew:
        """Who runs trials of a study from now on.

        room: seconds that a training which begins now may take; a longer one is given up as soon as
        its epochs tell.
        """
        if stage == Stage.GRID and self.bench.has_launcher:
            return self._launched(ledger, stage)

        def ask(overrides: Sequence[str], *, named: bool) -> dict[str, Any]:
            settings = read(self.bench.compose(self._line(overrides, stage, named=named)))
            left = None if (seconds := room()) == math.inf else max(0.0, round(seconds, 1))
            return self.brief.asks(settings, parent_run=self.parent_run, room=left)

        if self.lead is not None:
            self.lead.go_to(ledger.name)
        if self.workers is None:
            return Here(self.brief, ask, self.act or RunJob(Records(self.record)))
        return Elsewhere(self.n_jobs, ask, self.workers.tend)

    def _launched(self, ledger: Ledger, stage: Stage) -> Crew:
        """Hydra's launcher, told which trials they are."""

        def launch(jobs: Sequence[Job]) -> list[Ended]:
            return [ended(job) for job in self.bench.launch([line(job) for job in jobs])]

        def line(job: Job) -> list[str]:
            identity = f"study:{quoted(ledger.name)},storage:{quoted(self.storage)}"
            identity += f",number:{job.number}"
            if self.parent_run:
                identity += f",parent_run:{quoted(self.parent_run)}"
            own = self._line(job.overrides, stage, named=job.named)
            return [*own, "trial={" + identity + "}"]

        return Batches(launch, self.n_jobs)

    def _line(self, overrides: Sequence[str], stage: Stage, *, named: bool) -> list[str]:
        """The overrides that a trial is composed with. named: wanted by name."""
        plain: Sequence[str] = self.plain
        if stage != Stage.GRID:  # a grid is run as it is written
            plain = first_trials.inherited(self.plain, overrides, plan=named)
        # the sweep's study, also where a grid over targets would give each job its own name
        return [*plain, *overrides, f"stage={stage}", f"study={self.settings.study_name}"]

    def follow(self, text: str, total: int, done: Callable[[], int]) -> Callable[[Trial], None]:
        """Begin a stage on the screen; what is returned is to be told of every ended trial."""
        self.shown.stage(text, total, done())

        def after(trial: Trial) -> None:
            self.shown.step(done(), total)
            if reason := reason_of_failure(trial):
                what = " ".join(trial.user_attrs.get("overrides", ()))
                again = "; it is run again" if is_cut_short(trial) else ""
                self.shown.say(f"trial {trial.number} {what} failed: {reason}{again}")

        return after


def _of_pool(source: StudySource, n: int) -> StudySource:
    settings = source.settings
    alone = settings.sweep.confirm.model_copy(update={"splits": 0})
    sweep = settings.sweep.model_copy(update={"confirm": alone, "final": "pool", "pool_sizes": ()})
    smaller = settings.model_copy(
        update={
            "study": f"{settings.study_name}.pool{n}",
            "target": settings.target.model_copy(update={"fit_size": n}),
            "sweep": sweep,
        }
    )
    return replace(source, settings=smaller, question=question_of(smaller))


def _or(names: Sequence[str]) -> str:
    return " or ".join((", ".join(names[:-1]), names[-1]))


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """One sweep of a study at a time. Raises Refusal if another one runs."""
    folder = study_folder(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise Refusal(
            Fault(
                f"study={settings.study_name} in {settings.output_dir}",
                "one sweep of a study runs at a time, and one is running",
                "wait for it, or ask another question: study=NAME",
            )
        ) from error
    except OSError as error:
        raise Refusal(unwritable(settings.output_dir, error)) from error
    try:
        yield
    finally:
        lock.release()
