"""The story of a sweep, top to bottom: check, search, confirm, reach a verdict, report.

Also its short form: lists on the command line alone are a grid, run as written.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.override_parser.types import Override

from tlsweep import config, fixed, screen
from tlsweep.check import check_combinations, check_space, refuse_ddp
from tlsweep.confirm import candidates, evidence, replicates
from tlsweep.errors import Fault, Refusal
from tlsweep.question import Question, open_question
from tlsweep.record import Record, open_record
from tlsweep.report import table, write_report
from tlsweep.study import choice, space
from tlsweep.study.bench import Bench, ended
from tlsweep.study.ledger import Ended, Item, Job, Ledger, Trial, reason_of_failure
from tlsweep.study.space import Space
from tlsweep.study.storage import default_url
from tlsweep.terms import Stage
from tlsweep.trial import study_folder, unwritable
from tlsweep.verdict import Verdict, reach


@dataclass(frozen=True)
class Sweep:
    """All that the stages of one sweep share."""

    bench: Bench
    settings: config.Settings
    question: Question
    plain: tuple[str, ...]  # overrides of the command line that hold in every job
    record: Record
    parent_run: str | None
    began: float
    shown: screen.Screen

    @property
    def storage(self) -> str:
        """The URL of the study's database."""
        url: str | None = self.bench.options.storage
        return url or default_url(Path(self.settings.output_dir))

    def facts(self) -> dict[str, Any]:
        """What must stay the same for trials to be comparable: settings, weights and images."""
        return {
            **self.settings.question(),
            "source.fingerprint": self.question.source.fingerprint,
            "target.fingerprint": self.question.target.fingerprint,
        }

    def ledger(self, name: str, facts: dict[str, Any]) -> Ledger:
        """The ledger of one of this sweep's studies, with lost trials given back to its queue."""
        options = self.bench.options
        ledger = Ledger(
            storage=self.storage,
            name=name,
            sampler=choice.sampler(options.sampler, options.seed),
            pruner=choice.pruner(options.pruner),
            facts=facts,
        ).open(resume=options.resume)
        # a taken-up study goes on with other random numbers than those it began with
        ledger.reseed(choice.sampler(options.sampler, options.seed + 1_000 * len(ledger.trials())))
        for lost in ledger.reclaim():
            run_id = lost.user_attrs.get("run_id")
            if run_id:
                self.record.end_lost(run_id)
        return ledger

    def launch(self, study: str, stage: Stage, jobs: Sequence[Job]) -> list[Ended]:
        """Run jobs of ``study`` through Hydra's launcher."""
        lines = []
        for job in jobs:
            identity = f"study:{quoted(study)},storage:{quoted(self.storage)},number:{job.number}"
            if self.parent_run:
                identity += f",parent_run:{quoted(self.parent_run)}"
            trial = ["trial={" + identity + "}", f"stage={stage}"]
            lines.append([*self.plain, *job.overrides, *trial])
        return [ended(job) for job in self.bench.launch(lines)]


def quoted(text: str) -> str:
    """A text as a value in Hydra's override grammar: a path may hold quotes, commas, spaces."""
    # backslashes count as escapes only where a quote follows
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + (r"\'" if m[2] else ""), text)
    return f"'{escaped}'"


def sweep(bench: Bench, arguments: Sequence[str]) -> Any:
    """Run what ``python -m tlsweep -m ARGUMENTS`` asks for.

    Lists alone are a grid; without lists, or with ``sweep=`` named beside them, it is the whole
    sweep. Raises Refusal before any training where it cannot be carried out.
    """
    choice.silence_experimental()
    began = time.monotonic()
    overrides = space.parse(arguments, bench.parser())
    listed = [o for o in overrides if o.is_sweep_override()]
    plain = tuple(o.input_line or "" for o in overrides if not o.is_sweep_override())
    settings = config.read(bench.compose(plain))
    refuse_ddp(settings)
    named = any(o.key_or_group == "sweep" for o in overrides)
    with screen.shown() as shown, _locked(settings):
        question = open_question(settings, shown.step)
        shown.clear()
        shown.say(_opening(settings, question))
        if listed and not named:
            return _run_grid(bench, settings, question, plain, listed, shown, began)
        searched = [o.input_line or "" for o in listed] or bench.options.searches
        return _answer(bench, settings, question, plain, searched, shown, began)


# ---------------------------------------------------------------------- the whole sweep
def _answer(
    bench: Bench,
    settings: config.Settings,
    question: Question,
    plain: tuple[str, ...],
    searched: Sequence[str],
    shown: screen.Screen,
    began: float,
) -> Verdict:
    parsed = space.parse(searched, bench.parser())
    where = space.build(parsed, lambda: [cut.name for cut in question.cuts])
    first = fixed.items(settings.sweep.fixed, bench, question, bench.options.n_trials)
    check_space(bench, question, plain, where, [item.overrides for item in first])
    with _recorded(settings, settings.study_name) as (record, parent):
        s = Sweep(bench, settings, question, plain, record, parent, began, shown)
        ledger = _search(s, where, first)
        confirmed = _confirm(s, ledger)
        verdict = _conclude(s, ledger, confirmed)
        files = write_report(study_folder(settings), verdict, settings, record.where_to_look())
        record.keep_files(parent, files)
        record.end_sweep(parent, "finished", {"report_score": verdict.score})
    shown.clear()
    screen.console.print(table.verdict_lines(verdict, files, record.where_to_look()))
    return verdict


def _search(s: Sweep, where: Space, first: Sequence[Item]) -> Ledger:
    """Fixed plans, then those that the sampler asks for, one seed each, on the select split."""
    name, options = s.settings.study_name, s.bench.options
    facts = {"space": where.fingerprint(), **s.facts()}
    ledger = s.ledger(name, facts)
    s.shown.stage("search ", options.n_trials, len(ledger.counted()))

    def after(trial: Trial) -> None:
        s.shown.step(len(ledger.counted()), options.n_trials)
        if reason := reason_of_failure(trial):
            s.shown.say(f"trial {trial.number} failed: {reason}")

    ledger.on_trial = after
    ledger.search(
        where,
        first,
        lambda jobs: s.launch(name, Stage.SEARCH, jobs),
        n_trials=options.n_trials,
        n_jobs=options.n_jobs,
        max_failure_rate=options.max_failure_rate,
    )
    return ledger


def _confirm(s: Sweep, searched: Ledger) -> Ledger:
    """The best plans and the controls again, several seeds each, on the report split too."""
    name = f"{s.settings.study_name}.confirm"
    plans = candidates(searched.completed(), s.settings.sweep.confirm, s.question)
    items = replicates(plans, s.settings)
    ledger = s.ledger(name, s.facts())
    keys = {item.key for item in items}

    def done() -> int:
        return sum(t.user_attrs.get("key") in keys for t in ledger.counted())

    s.shown.stage("confirm", len(items), done())
    ledger.on_trial = lambda trial: s.shown.step(done(), len(items))
    ledger.run_list(
        items,
        lambda jobs: s.launch(name, Stage.CONFIRM, jobs),
        n_jobs=s.bench.options.n_jobs,
    )
    return ledger


def _conclude(s: Sweep, searched: Ledger, confirmed: Ledger) -> Verdict:
    settings = s.settings.sweep.confirm
    plans = candidates(searched.completed(), settings, s.question)
    folder = study_folder(s.settings) / "hits"
    replicated, others = evidence(plans, searched, confirmed, folder, s.settings)
    spent = [
        float(t.user_attrs.get("seconds", 0)) for t in (*searched.counted(), *confirmed.counted())
    ]
    return reach(
        s.settings.study_name,
        replicated,
        others,
        rule=settings.rule,
        confidence=settings.confidence,
        n_trials=len(searched.counted()),
        seconds=round(max(time.monotonic() - s.began, sum(spent)), 1),
    )


# ---------------------------------------------------------------------- a grid
def _run_grid(
    bench: Bench,
    settings: config.Settings,
    question: Question,
    plain: tuple[str, ...],
    listed: Sequence[Override],
    shown: screen.Screen,
    began: float,
) -> list[Trial]:
    combinations = space.grid(listed, lambda: [cut.name for cut in question.cuts])
    check_combinations(bench, plain, combinations)
    items = [Item.of(overrides) for overrides in combinations]
    digest = hashlib.sha256("\n".join(item.key for item in items).encode()).hexdigest()[:8]
    name = f"{settings.study_name}.grid-{digest}"
    with _recorded(settings, name) as (record, parent):
        s = Sweep(bench, settings, question, plain, record, parent, began, shown)
        ledger = s.ledger(name, s.facts())
        shown.stage("grid   ", len(items), len(ledger.counted()))
        ledger.on_trial = lambda trial: shown.step(len(ledger.counted()), len(items))
        ledger.run_list(
            items, lambda jobs: s.launch(name, Stage.GRID, jobs), n_jobs=bench.options.n_jobs
        )
        record.end_sweep(parent, "finished", {})
    shown.clear()
    trials = ledger.ended()
    screen.console.print(table.grid_table(trials, study_folder(settings) / "hits"))
    return trials


# ---------------------------------------------------------------------- around both
@contextmanager
def _locked(settings: config.Settings) -> Iterator[None]:
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
        (folder / "config.yaml").write_text(config.to_yaml(settings))
        yield
    finally:
        lock.release()


@contextmanager
def _recorded(settings: config.Settings, name: str) -> Iterator[tuple[Record, str | None]]:
    """The sweep's parent run, closed as what it ended as."""
    record = open_record(settings.record, Path(settings.output_dir).resolve())
    parent = record.start_sweep(
        name,
        {
            "source": settings.source.label,
            "target": settings.target.label,
            "stage": "sweep",
            "epochs": settings.train.epochs,
            "seed": settings.seed,
        },
    )
    try:
        yield record, parent
    except KeyboardInterrupt:
        record.end_sweep(parent, "killed", {})
        raise
    except BaseException:
        record.end_sweep(parent, "failed", {})
        raise


def _opening(settings: config.Settings, question: Question) -> str:
    p, source = question.partition, question.source
    return (
        f"[bold]{settings.study_name}[/bold]: how much of {source.name} ({source.trained_on}) to"
        f" keep for {question.target.name}?\n"
        f"  {question.cuts.n_blocks} blocks; {len(question.target.class_names)} classes; images:"
        f" {len(p.fit)} fit, {len(p.select)} select, {len(p.report)} report"
    )
