"""The story of a sweep, top to bottom: check, search, confirm, reach a verdict, report.

Also its short form: lists on the command line alone are a grid, run as written.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from tlsweep import config, fixed, screen
from tlsweep.check import check_combinations, check_keys, check_space, refuse_ddp
from tlsweep.confirm import candidates, evidence, replicates, shortfalls
from tlsweep.errors import TlsweepError
from tlsweep.guide import SURVEY_FILE, enter_survey, frozen_curve, guide
from tlsweep.question import open_question
from tlsweep.report import table, write_report
from tlsweep.session import Session, locked
from tlsweep.study import choice, space
from tlsweep.study.bench import Bench
from tlsweep.study.ledger import Item, Ledger, Trial, reason_of_failure
from tlsweep.study.space import Space
from tlsweep.survey.rows import Findings
from tlsweep.terms import Stage
from tlsweep.verdict import Confirmed, Verdict, reach


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
    is_grid = bool(listed) and not any(o.key_or_group == "sweep" for o in overrides)
    # a grid may list sources, or what a target cannot do without: the first ones are opened
    base = space.first_values(listed) if is_grid else []
    settings = config.read(bench.compose([*plain, *base]))
    refuse_ddp(settings, is_grid)
    if not is_grid:
        check_keys([o.key_or_group for o in listed] or bench.options.params)
    with screen.shown() as shown, locked(settings):
        question = open_question(settings, shown.step)
        s = Session(bench, settings, question, plain, shown, began)
        shown.clear()
        shown.say(_opening(s))
        return _run_grid(s, listed) if is_grid else _answer(s, listed)


# ---------------------------------------------------------------------- the whole sweep
def _answer(s: Session, listed: Sequence[Override]) -> Verdict | Findings:
    where, first = _what_to_try(s, listed)
    name, stages = s.settings.study_name, s.settings.sweep.stages
    searched = s.ledger(name, {"space": where.fingerprint(), **s.facts()})
    confirmed = s.ledger(f"{name}.confirm", s.facts())
    with s.recorded(searched, confirmed):
        # lists on the command line are the whole search space: nothing is tried beside them
        frozen: list[Confirmed] = []
        if "survey" in stages and not (listed and "search" in stages):
            surveyed = enter_survey(s, searched, room=_room(s, first))
            if "search" not in stages:
                return _show(s, surveyed.findings)
            where = guide(s, searched, surveyed.findings, where)
            frozen = frozen_curve(s, surveyed)
        _search(s, searched, where, first)
        _confirm(s, searched, confirmed)
        verdict = _conclude(s, searched, confirmed, frozen)
        look = s.record.where_to_look()
        files = write_report(s.folder, verdict, s.settings, look)
        s.record.keep_files(s.parent_run, files)
        s.record.end_sweep(s.parent_run, "finished", {"report_score": verdict.score})
    s.shown.clear()
    screen.console.print(table.verdict_box(verdict))
    screen.console.print(table.where_next(verdict, files, look), soft_wrap=True)
    return verdict


def _what_to_try(s: Session, listed: Sequence[Override]) -> tuple[Space, list[Item]]:
    """The search space, and the trials that come first. Raises Refusal with all their faults.

    Lists on the command line are the space, whole; a single value there holds a key fixed.
    """
    options = s.bench.options
    swept = space.not_given(space.parse(options.searches, s.bench.parser()), s.plain)
    where = space.build(listed or swept, lambda: s.question.cuts.names)
    wanted = [] if listed else fixed.grids(s.settings.sweep.fixed, s.bench, s.question)
    first = [Item.of(o) for grid in fixed.thin(wanted, options.n_trials) for o in grid]
    left_out = sum(map(len, wanted)) - len(first)
    if left_out:
        s.shown.say(
            f"  sweep.n_trials={options.n_trials} has no room for {left_out} of the"
            f" {len(first) + left_out} plans of sweep.fixed"
        )
    check_space(s.bench, s.question, s.plain, where, [item.overrides for item in first])
    return where, first


def _room(s: Session, first: Sequence[Item]) -> int:
    """How many of the survey's plans count as trials: what the fixed ones leave of two thirds."""
    n_trials = int(s.bench.options.n_trials)
    return min(max(2, int(fixed.SHARE * n_trials) - len(first)), n_trials - len(first) - 1)


def _show(s: Session, findings: Findings) -> Findings:
    s.record.end_sweep(s.parent_run, "finished", {})
    s.shown.clear()
    screen.console.print(table.survey_table(findings, s.folder / SURVEY_FILE))
    return findings


def _search(s: Session, ledger: Ledger, where: Space, first: Sequence[Item]) -> None:
    """Fixed plans, then those that the sampler asks for, one seed each, on the select split."""
    options = s.bench.options
    if (there := len(ledger.counted())) > options.n_trials:
        s.shown.say(
            f"  sweep.n_trials={options.n_trials}, and the study has {there} trials already:"
            " nothing more is searched"
        )
    ledger.on_trial = s.follow("search ", options.n_trials, lambda: len(ledger.counted()))
    ledger.search(
        where,
        first,
        s.launch(ledger, Stage.SEARCH),
        n_trials=options.n_trials,
        n_jobs=options.n_jobs,
        max_failure_rate=options.max_failure_rate,
    )


def _confirm(s: Session, searched: Ledger, ledger: Ledger) -> None:
    """The best plans and the controls again, several seeds each, on the report split too."""
    plans = candidates(searched.completed(), s.settings.sweep.confirm, s.question)
    items = replicates(plans, s.settings)
    keys = {item.key for item in items}
    ledger.on_trial = s.follow(
        "confirm", len(items), lambda: sum(t.user_attrs["key"] in keys for t in ledger.counted())
    )
    ledger.run_list(items, s.launch(ledger, Stage.CONFIRM), n_jobs=s.bench.options.n_jobs)


def _conclude(
    s: Session, searched: Ledger, confirmed: Ledger, frozen: Sequence[Confirmed]
) -> Verdict:
    settings = s.settings.sweep.confirm
    plans = candidates(searched.completed(), settings, s.question)
    replicated, others = evidence(plans, searched, confirmed, s.folder / "hits", s.settings)
    if not any(plan.candidate for plan in replicated):
        raise TlsweepError(_why_nothing(confirmed))
    spent = sum(float(t.user_attrs.get("seconds", 0)) for t in searched.ended() + confirmed.ended())
    return reach(
        s.settings.study_name,
        replicated,
        [*others, *frozen],  # of one cut point the better one is shown
        rule=settings.rule,
        confidence=settings.confidence,
        n_trials=len(searched.counted()),
        # a study that was taken up has been at it longer than this session
        seconds=round(max(time.monotonic() - s.began, spent), 1),
        shortfalls=shortfalls(plans, confirmed, s.settings),
    )


def _why_nothing(ledger: Ledger) -> str:
    reasons = sorted({reason for t in ledger.ended() if (reason := reason_of_failure(t))})
    return (
        "no plan could be confirmed: all replicates failed. Reasons: "
        + ("; ".join(reasons) or "none was run")
        + ". Once they are mended, ask anew under another name: study=NAME"
    )


# ---------------------------------------------------------------------- a grid
def _run_grid(s: Session, listed: Sequence[Override]) -> list[Trial]:
    def cut_names(rest: Sequence[str]) -> Sequence[str]:
        # a grid over sources: each has cut points of its own
        return open_question(config.read(s.bench.compose([*s.plain, *rest]))).cuts.names

    combinations = space.grid(listed, cut_names)
    check_combinations(s.bench, s.plain, combinations)
    items = [Item.of(overrides) for overrides in combinations]
    # one study a command line: another one is another grid
    text = "\n".join([*s.plain, *(item.key for item in items)])
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    ledger = s.ledger(f"{s.settings.study_name}.grid-{digest}", s.facts())
    with s.recorded(ledger):
        ledger.on_trial = s.follow("grid   ", len(items), lambda: len(ledger.counted()))
        ledger.run_list(items, s.launch(ledger, Stage.GRID), n_jobs=s.bench.options.n_jobs)
        if not ledger.counted():
            raise TlsweepError(_why_nothing(ledger).replace("confirmed", "trained"))
        s.record.end_sweep(s.parent_run, "finished", {})
    s.shown.clear()
    trials = ledger.ended()
    screen.console.print(table.grid_table(trials, s.folder / "hits"))
    return trials


def _opening(s: Session) -> str:
    p, source, target = s.question.partition, s.question.source, s.question.target
    return (
        f"{s.settings.study_name}: how much of {source.name} ({source.trained_on}) to"
        f" keep for {target.name}?\n"
        f"  {s.question.cuts.n_blocks} blocks; {len(target.class_names)} classes; images:"
        f" {len(p.fit)} fit, {len(p.select)} select, {len(p.report)} report"
    )
