"""The story of a sweep, top to bottom: check, search, confirm, reach a verdict, report.

Also its short form: lists on the command line alone are a grid, run as written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tlsweep import screen
from tlsweep.config.settings import Settings
from tlsweep.engine.registry import hand_over
from tlsweep.jobs import grammar
from tlsweep.jobs.bench import Bench
from tlsweep.jobs.sources import chosen_by
from tlsweep.question import refuse_draws
from tlsweep.report import table, write_report
from tlsweep.stages import first_trials
from tlsweep.stages.budget import Budget
from tlsweep.stages.check import (
    check_keys,
    check_space,
    refuse_its_own,
    refuse_launcher,
    refuse_one_database,
    refuse_twice,
    refuse_without_effect,
)
from tlsweep.stages.compare import compare
from tlsweep.stages.conclude import Concluded, conclude, decide, write_model_of
from tlsweep.stages.contenders import Contender
from tlsweep.stages.decided import Decided
from tlsweep.stages.gather import gather, tell_record
from tlsweep.stages.grid import run_grid
from tlsweep.stages.guide import Surveyed, guide, spaces_of, trained_sources
from tlsweep.stages.pools import decide_of_pool, open_smaller
from tlsweep.stages.searching import first_of, search, try_named
from tlsweep.stages.session import Session, locked
from tlsweep.stages.shifted_sets import open_shifted, seconds_of
from tlsweep.stages.sources import open_sources, settings_of_each
from tlsweep.stages.studies import Studies, open_studies
from tlsweep.stages.surveys import survey_all
from tlsweep.stages.take_home import keep_in_record
from tlsweep.study import choice, space
from tlsweep.study.ledger import Item, Trial
from tlsweep.study.space import Space
from tlsweep.verdict import Verdict


def sweep(bench: Bench, arguments: Sequence[str]) -> Verdict | list[Trial] | None:
    """Run what ``python -m tlsweep -m ARGUMENTS`` asks for; None where it was handed over.

    Lists alone are a grid; without lists, or with ``sweep=`` named beside them, it is the whole
    sweep. Raises Refusal before any training where it cannot be carried out.
    """
    choice.silence_experimental()
    began = time.monotonic()
    overrides = grammar.parse(arguments, bench.parser())
    refuse_twice(overrides)
    listed = [o for o in overrides if o.is_sweep_override()]
    plain = tuple(o.input_line or "" for o in overrides if not o.is_sweep_override())
    is_grid = bool(listed) and not any(o.key_or_group == "sweep" for o in overrides)
    # a grid may list sources, or what a target cannot do without: the first ones are opened
    chosen = [tuple(grammar.first_values(listed))] if is_grid else chosen_by(bench, plain)
    if len(chosen) == 1 and not is_grid:  # a study of one source, however it was chosen
        plain, chosen = (*first_trials.inherited(plain, chosen[0]), *chosen[0]), [()]
    each = settings_of_each(bench, plain, chosen)
    settings = each[0]
    refuse_one_database(settings)
    if is_grid:
        refuse_without_effect([*plain, *(o.input_line or "" for o in listed)])
    else:
        refuse_its_own(o.key_or_group for o in overrides)
        refuse_launcher(bench)
        ranges = [key for key, written in bench.options.params.items() if written is not None]
        check_keys([o.key_or_group for o in listed] or ranges)
        settings = _with_space(settings, bench, listed)
    with screen.shown() as shown, locked(settings):
        sources = open_sources(each, chosen, shown.step)
        s = Session(bench, settings, sources, plain, shown, began, tuple(arguments))
        shown.clear()
        shown.say(_opening(s))
        if settings.engine.leaves:
            shown.say(hand_over(settings.engine, _staying(s.line), s.folder))
            return None
        return run_grid(s, listed) if is_grid else _answer(s, listed)


def _staying(line: Sequence[str]) -> list[str]:
    """The command as the engine runs it: that one hands nothing over."""
    return [*(o for o in line if not o.startswith("engine.leave=")), "engine.leave=false"]


def _with_space(settings: Settings, bench: Bench, listed: Sequence[grammar.Override]) -> Settings:
    """The settings with the space that is searched: what is recorded is what runs."""
    lists = {o.get_key_element(): str(o.input_line).partition("=")[2] for o in listed}
    given = {key: value for key, value in bench.options.params.items() if value is not None}
    chosen = settings.sweep.model_copy(update={"params": lists or given})
    return settings.model_copy(update={"sweep": chosen})


def _answer(s: Session, listed: Sequence[grammar.Override]) -> Verdict:
    where, first = _what_to_try(s, listed)
    stages, chosen = s.settings.sweep.stages, s.settings.sweep
    refuse_draws(s.question, chosen.confirm.splits)
    shifts = open_shifted(s)
    s.also_said = [text for one in shifts for text in one.said]
    for text in s.also_said:
        s.shown.say(f"  {text}")
    studies, smaller = open_studies(s, where), open_smaller(s)
    with s.recorded(*studies.all, *(one for pool in smaller for one in pool.studies.all)):
        more = chosen.confirm.splits + (chosen.final == "all")
        before = sum(one.seconds() for one in (studies, *(pool.studies for pool in smaller)))
        budget = Budget(
            chosen.minutes, studies.search, before, more, began=s.began, abreast=s.n_jobs
        )
        surveys, known = list[Surveyed](), list[Contender]()  # known without training
        # lists on the command line are the whole search space: nothing is tried beside them
        if "survey" in stages and not (listed and "search" in stages):
            surveys, known = survey_all(s, studies, budget)
            budget.reserved = seconds_of(shifts, surveys, s)
        said: list[str] = []
        begun = bool(studies.searched())  # in an earlier session: what it trained counts
        if "search" in stages and not begun and not budget.allows("training", 0.0, 0.0):
            said = ["training: sweep.minutes had passed after the survey"]
        elif "search" in stages:
            if surveys:
                where, more_said = _guided(s, studies, surveys, where)
                said += more_said
            said += try_named(s, studies, first_of(s, list(where), first), budget)
            search(s, studies, spaces_of(s, where), budget)
        plans = compare(s, studies, known, budget)
        decided = decide(s, studies, plans, surveys, said, budget)
        others = [decide_of_pool(pool, decided, budget) for pool in smaller]
        # only now, with every choice made, the report split is read
        return _told(decided, conclude(decided, budget, others, shifts), where)


def _guided(
    s: Session, studies: Studies, surveys: Sequence[Surveyed], where: Mapping[str, Space]
) -> tuple[dict[str, Space], list[str]]:
    """What is searched of the sources that did best frozen, and what to say of the others."""
    names = trained_sources(studies.search, surveys, s.settings.sweep.trained_sources)
    trained = {name: where[name] for name in names}
    others = [one.called for one in s.sources if one.called not in trained]
    said = [
        f"no plan of {name} was trained: it was not among the {len(names)} sources that did best"
        f" frozen (sweep.trained_sources={s.settings.sweep.trained_sources})"
        for name in others
    ]
    return guide(
        s, studies.search, [o for o in surveys if o.source.called in trained], trained
    ), said


def _told(decided: Decided, concluded: Concluded, where: Mapping[str, Space]) -> Verdict:
    """Write the model, the page and the record, and show the verdict."""
    s, studies, surveys = decided.s, decided.studies, decided.surveys
    verdict = concluded.verdict
    model = write_model_of(s, studies, concluded.chosen, verdict)
    material = gather(s, verdict, concluded.answers, surveys, vars(studies), where)
    files = write_report(s.folder, material)
    tell_record(s, material, surveys, files)
    keep_in_record(s, model, concluded.chosen)
    s.shown.clear()
    screen.console.print(table.verdict_box(material))
    screen.console.print(table.where_next(material, files), soft_wrap=True)
    return verdict


def _what_to_try(
    s: Session, listed: Sequence[grammar.Override]
) -> tuple[dict[str, Space], dict[str, list[Item]]]:
    """Of each source the search space, and the trials that come first.

    Lists on the command line are the space, whole; a single value there holds a key fixed. Raises
    Refusal with the faults of all.
    """
    options = s.bench.options
    swept = grammar.not_given(grammar.parse(options.searches, s.bench.parser()), s.plain)
    if s.settings.plan.regions:  # they are of blocks that another cut point would not keep
        swept = [o for o in swept if o.key_or_group not in space.CUT_KEYS]
    # a plan of the command line is each trial's own: it is what a reader knows the trial by
    mine = [o for o in s.plain if o.lstrip("+").startswith(("plan=", "plan."))]
    where: dict[str, Space] = {}
    first: dict[str, list[Item]] = {}
    for one in s.sources:
        found = grammar.build(listed or swept, one.question.searched)
        found = replace(found, fixed=(*mine, *found.fixed))
        wanted = [] if listed else first_trials.grids(s.settings.sweep.fixed, s.bench, one.question)
        items = [Item.of((*one.overrides, *o)) for grid in wanted for o in grid]
        plain = [*first_trials.inherited(s.plain, one.overrides, plan=False), *one.overrides]
        check_space(s.bench, one.question, plain, found, [item.overrides for item in items])
        where[one.called], first[one.called] = found, items
    return where, first


def _opening(s: Session) -> str:
    p, things = s.question.partition, s.question.task.things
    folds = f"{len(p.folds)} folds" if len(p.folds) > 1 else f"{len(p.folds[0])} held out"
    blocks = ", ".join(
        f"{one.question.cuts.n_blocks} blocks{f' of {one.called}' if s.several else ''}"
        for one in s.sources
    )
    lines = [
        f"{s.settings.study_name}: {s.asks}",
        f"  {blocks}; {s.question.task.told};"
        f" {len(p.pool)} labelled {things} choose and train ({folds}), {len(p.report)} report",
        *(f"  {said}" for said in s.said()),
    ]
    if (minutes := s.settings.sweep.minutes) is not None:
        lines.append(f"  at most about {minutes:g} minutes (sweep.minutes)")
    return "\n".join(lines)
