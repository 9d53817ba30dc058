"""The story of a sweep, top to bottom: check, search, confirm, reach a verdict, report.

Also its short form: lists on the command line alone are a grid, run as written.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlsweep import screen
from tlsweep.config.read import read
from tlsweep.config.settings import Settings
from tlsweep.errors import TlsweepError
from tlsweep.jobs import grammar
from tlsweep.jobs.bench import Bench
from tlsweep.jobs.sources import chosen_by
from tlsweep.question import Question, refuse_draws
from tlsweep.report import table, write_report, write_survey
from tlsweep.stages import final, first_trials
from tlsweep.stages.budget import CLOSING, FOLDS, SLOWER, Budget, expected, is_of
from tlsweep.stages.check import (
    check_combinations,
    check_keys,
    check_space,
    refuse_ddp,
    refuse_its_own,
    refuse_twice,
    refuse_without_effect,
)
from tlsweep.stages.confirm import item_of, race, replicates, shortfalls, tried
from tlsweep.stages.contenders import (
    Contender,
    chosen_source,
    facts_of,
    frozen,
    lag_of,
    may_win,
    merged,
    trained,
)
from tlsweep.stages.gather import gather, tell_record
from tlsweep.stages.guide import (
    Surveyed,
    enter_survey,
    guide,
    run_survey,
    spaces_of,
    trained_sources,
)
from tlsweep.stages.session import Session, locked
from tlsweep.stages.sources import open_sources, settings_of_each
from tlsweep.stages.take_home import keep_in_record, network_of
from tlsweep.stages.thaws import never_thawed, otherwise
from tlsweep.study import choice, space
from tlsweep.study.ledger import Item, Ledger, Trial, reason_of_failure, seconds_of
from tlsweep.study.space import Space, Spaces
from tlsweep.survey.rows import Place
from tlsweep.survey.surveyor import refit
from tlsweep.task import Measure
from tlsweep.task.outcome import Logits
from tlsweep.terms import Stage
from tlsweep.trial import ends_early, outcomes_folder, question_of
from tlsweep.verdict import Interval, Recommendation, Told, Tried, Verdict, reach, recommend


def sweep(bench: Bench, arguments: Sequence[str]) -> Verdict | list[Trial]:
    """Run what ``python -m tlsweep -m ARGUMENTS`` asks for.

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
    refuse_ddp(settings, is_grid)
    if is_grid:
        refuse_without_effect(plain)
    else:
        refuse_its_own(o.key_or_group for o in overrides)
        ranges = [key for key, written in bench.options.params.items() if written is not None]
        check_keys([o.key_or_group for o in listed] or ranges)
        settings = _with_space(settings, bench, listed)
    with screen.shown() as shown, locked(settings):
        sources = open_sources(each, chosen, shown.step)
        s = Session(bench, settings, sources, plain, shown, began, tuple(arguments))
        shown.clear()
        shown.say(_opening(s))
        return _run_grid(s, listed) if is_grid else _answer(s, listed)


def _with_space(settings: Settings, bench: Bench, listed: Sequence[grammar.Override]) -> Settings:
    """The settings with the space that is searched: what is recorded is what runs."""
    lists = {o.get_key_element(): str(o.input_line).partition("=")[2] for o in listed}
    given = {key: value for key, value in bench.options.params.items() if value is not None}
    chosen = settings.sweep.model_copy(update={"params": lists or given})
    return settings.model_copy(update={"sweep": chosen})


# ---------------------------------------------------------------------- the whole sweep
@dataclass(frozen=True)
class _Studies:
    """The studies of one sweep. Only ``search`` is the sampler's: it sees trials of its own space.

    The others lie beside it: what a survey answered, what the config names, replicates, and the
    final trainings.
    """

    search: Ledger
    survey: Ledger
    first: Ledger
    confirm: Ledger
    final: Ledger

    @property
    def all(self) -> tuple[Ledger, ...]:
        """Every study, the main one first."""
        return self.search, self.survey, self.first, self.confirm, self.final

    def seconds(self) -> float:
        """What all their trials took."""
        ended = (t for ledger in self.all for t in ledger.ended())
        return sum(map(seconds_of, ended))

    def tried(self) -> list[Trial]:
        """The trained plans that were tried, those that were stopped early among them."""
        return [*self.first.counted(), *self.search.counted()]

    def timed(self) -> list[Trial]:
        """The trained plans that tell what trainings take: those that took too long, too."""
        return [*self.searched(), *self.first.given_up(), *self.search.given_up()]

    def searched(self) -> list[Trial]:
        """The trained plans that were tried on the fold that the search holds out."""
        return [*self.first.completed(), *self.search.completed()]


NO_SCORE = (
    "it was trained on all labels (sweep.final=all); what is quoted is the same plan, trained on"
    " the pool alone"
)
_READ_AT = "report_read_at"  # how many trials had been run when a verdict first read it


def _answer(s: Session, listed: Sequence[grammar.Override]) -> Verdict:
    where, first = _what_to_try(s, listed)
    stages, chosen = s.settings.sweep.stages, s.settings.sweep
    refuse_draws(s.question, chosen.confirm.splits)
    studies = _studies(s, where)
    with s.recorded(*studies.all):
        more = chosen.confirm.splits + (chosen.final == "all")
        budget = Budget(chosen.minutes, studies.search, studies.seconds(), more, s.began)
        surveys, known = list[Surveyed](), list[Contender]()  # known without training
        # lists on the command line are the whole search space: nothing is tried beside them
        if "survey" in stages and not (listed and "search" in stages):
            surveys, known = _surveyed(s, studies, budget)
        said: list[str] = []
        begun = bool(studies.searched())  # in an earlier session: what it trained counts
        if "search" in stages and not begun and not budget.allows("training", 0.0, 0.0):
            said = ["training: sweep.minutes had passed after the survey"]
        elif "search" in stages:
            if surveys:
                where, more_said = _guided(s, studies, surveys, where)
                said += more_said
            said += _first(s, studies, [i for name in where for i in first[name]], budget)
            _search(s, studies, spaces_of(s, where), budget)
        choose = partial(_compared, s, studies, known)
        contenders, short = budget.affordable(choose, partial(_missing, s, studies))
        said += [*short, *_confirm(s, studies, contenders, budget)]
        left_out = [c for c in choose(()) if c not in contenders]
        concluded = _conclude(s, studies, contenders, left_out, surveys, said, budget)
        return _told(s, studies, concluded, surveys, where)


def _studies(s: Session, where: Mapping[str, Space]) -> _Studies:
    """The studies of a sweep, made or taken up. where: what is searched, of each source."""
    name = s.settings.study_name
    search = s.ledger(name, {"space": spaces_of(s, where).fingerprint(), **s.facts()})
    others = ("survey", "first", "confirm", "final")
    return _Studies(search, *(s.ledger(f"{name}.{kind}", s.facts()) for kind in others))


def _surveyed(
    s: Session, studies: _Studies, budget: Budget
) -> tuple[list[Surveyed], list[Contender]]:
    """A survey of each source, entered into its study and told of, and the plans it answers."""
    surveys, known = list[Surveyed](), list[Contender]()
    for source in s.sources:
        one = run_survey(s, source)
        enter_survey(s, studies.survey, one)
        known += frozen(
            source, one.points, one.outcomes, one.random_cut, without_input=bool(surveys)
        )
        surveys.append(one)
        _early_answer(s, one, budget)
    return surveys, known


def _guided(
    s: Session, studies: _Studies, surveys: Sequence[Surveyed], where: Mapping[str, Space]
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


def _told(
    s: Session,
    studies: _Studies,
    concluded: tuple[Verdict, Contender, Logits],
    surveys: Sequence[Surveyed],
    where: Mapping[str, Space],
) -> Verdict:
    """Write the model, the page and the record, and show the verdict."""
    verdict, chosen, answers = concluded
    model = _take_home(s, studies, chosen, verdict)
    material = gather(s, verdict, answers, surveys, vars(studies), where)
    files = write_report(s.folder, material)
    tell_record(s, material, surveys, files)
    keep_in_record(s, model, chosen)
    s.shown.clear()
    screen.console.print(table.verdict_box(material))
    screen.console.print(table.where_next(material, files), soft_wrap=True)
    return verdict


def _read_before(studies: _Studies) -> list[str]:
    """What to say where the report split was read before now, and trials have been run since.

    What it showed might have guided whoever asked for them.
    """
    chose = sum(
        len(ledger.counted()) for ledger in (studies.search, studies.first, studies.confirm)
    )
    before = studies.search.recall(_READ_AT)
    if before is None:
        studies.search.remember(_READ_AT, chose)
        return []
    more = chose - before
    return (
        [f"a report split that nobody had seen: {more} trials were run after a verdict had read it"]
        if more > 0
        else []
    )


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
        found = grammar.build(listed or swept, one.question.named)
        found = replace(found, fixed=(*mine, *found.fixed))
        wanted = [] if listed else first_trials.grids(s.settings.sweep.fixed, s.bench, one.question)
        items = [Item.of((*one.overrides, *o)) for grid in wanted for o in grid]
        plain = [*first_trials.inherited(s.plain, one.overrides, plan=False), *one.overrides]
        check_space(s.bench, one.question, plain, found, [item.overrides for item in items])
        where[one.called], first[one.called] = found, items
    return where, first


def _early_answer(s: Session, surveyed: Surveyed, budget: Budget) -> None:
    """A survey's answer, as soon as it is there: out of fold, since nothing is quoted yet."""
    findings, measure = surveyed.findings, s.question.task.measure
    best = findings.curve()[findings.ranking()[0]]
    n = len(s.question.partition.held_out)
    scores = _survey_scores(s, surveyed, Told(measure, s.settings.sweep.confirm.confidence))
    own, number = scores[best.weights, best.index], measure.unit.number
    left = max(0, budget.left) / 60
    rest = "" if budget.minutes is None else f"; the rest takes {left:.0f} min at most"
    name = surveyed.source.file_name
    write_survey(s.folder, findings.frozen, list(scores.values()), measure, n, name)
    whose = f"{surveyed.source.called} " if s.several else ""
    s.shown.say(
        f"  in {budget.spent:.0f} s: {whose}frozen up to {best.cut},"
        f" {_of_images(own.score, measure, n)}"
        f" out of fold ({number(own.low)} to {number(own.high)}){rest}"
    )


def _of_images(score: float, measure: Measure, n: int) -> str:
    """A score in words: ``90.4 % of 244 images``."""
    written = measure.unit.written(score)
    if measure.is_share_right:
        return f"{written} of {n} {measure.things}"
    return f"{measure.words} {written} of {n} {measure.things}"


def _survey_scores(s: Session, surveyed: Surveyed, told: Told) -> dict[Place, Interval]:
    """What each cut point scores out of fold, in the order of the findings."""
    y, found = s.question.target.labels[s.question.partition.held_out], {}
    for place in surveyed.points:
        answered = np.concatenate(list(surveyed.outcomes[place].held_out.values()))
        found[place] = told.score(s.question.task.example_scores(answered, y)[None])
    return found


def _first(s: Session, studies: _Studies, first: Sequence[Item], budget: Budget) -> list[str]:
    """The plans that sweep.fixed names, one of each first; of what follows as many as time allows.

    So each plan is tried once at least, and what a training of it takes is known, save one that
    surely takes too long. Returns what was not tried, a sentence each.
    """
    ledger = studies.first
    ledger.on_trial = s.follow("first  ", len(first), lambda: len(ledger.counted()))
    run = s.launch(ledger, Stage.FIRST, lambda: budget.room)
    left_out, said = 0, []
    one_each: dict[tuple[str, ...], Item] = {}
    for item in first:
        one_each.setdefault(_family(item.overrides), item)
    others = [item for item in first if item not in one_each.values()]
    for item in filter(ledger.would_run, [*one_each.values(), *others]):
        if why := _far_behind(s, studies, item):
            said.append(why)
            continue
        if _time_for(s, studies, item, budget):
            ledger.run_list([item], run, n_jobs=1)
            continue
        left_out += 1
        if item not in others:
            said.append(f"{_named(s, item)}: {budget.without_room()}")
    if left_out:
        s.shown.say(f"  sweep.minutes has no room for {left_out} plans of sweep.fixed")
    return said + _given_up(s, studies, one_each.values(), budget)


def _given_up(s: Session, studies: _Studies, items: Collection[Item], budget: Budget) -> list[str]:
    """What to say of plans of which each training that was begun took too long."""
    trained = {_family(t.user_attrs["overrides"]) for t in studies.first.completed()}
    takes: dict[tuple[str, ...], float] = {}
    for trial in studies.first.given_up():
        family = _family(trial.user_attrs["overrides"])
        takes[family] = min(trial.user_attrs["takes"], takes.get(family, math.inf))
    return [
        f"{_named(s, item)}: {budget.without_room(takes[family])}"
        for item in items
        if (family := _family(item.overrides)) in takes and family not in trained
    ]


def _far_behind(s: Session, studies: _Studies, item: Item) -> str | None:
    """Why another setting of a control is not tried: it cannot win, and no rate makes it close.

    Its best score is more than three standard errors below the best one on the first fold. Without
    a limit of minutes all are tried.
    """
    family = _family(item.overrides)
    own = [t for t in studies.first.completed() if is_of(t, family)]
    if s.settings.sweep.minutes is None or not own or any(map(may_win, own)):
        return None
    lag = lag_of(own, studies.searched(), len(s.question.partition.folds[0]))
    if not lag.is_far:
        return None
    measure = s.question.task.measure

    def told(score: float) -> str:
        return measure.unit.written(measure.value(score))

    return (
        f"{_named(s, item)}: {len(own)} of its settings tried, with"
        f" {told(lag.own)} on the first fold where another plan has {told(lag.best)}; the others"
        " would not make it close"
    )


def _time_for(s: Session, studies: _Studies, item: Item, budget: Budget) -> bool:
    """Whether there is time for a trial that sweep.fixed names.

    Of each plan one is run, save where it takes all its epochs and could not, at the slowest pace
    so far, be compared and quoted, or where another setting took too long. Another one has to leave
    the time for the fewest trainings that the plans so far need: another rate for a control is
    worth more than a third replicate.
    """
    plain = first_trials.inherited(s.plain, item.overrides)
    settings = read(s.bench.compose([*plain, *item.overrides]))
    question = s.source_of(item.overrides).question
    early = ends_early(question.plan(settings.plan), settings.train)
    done, family = studies.timed(), _family(item.overrides)
    at_most, seconds = expected(done, family, settings.train.epochs), expected(done, family)
    if not early or (at_most is not None and seconds is not None and at_most < seconds):
        seconds = at_most
    own = [t for t in done if is_of(t, family)]
    if not any(t.value is not None for t in own):
        if early and not own:
            return True
        return seconds is None or budget.has_room(item.key, seconds)
    contenders, missing = _within_reach(s, studies, budget)
    needed = sum(c.seconds * missing(c) for c in contenders)
    return budget.allows(item.key, seconds or 0.0, CLOSING + needed)


def _family(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides that a trial shares with those of the same source and kind of plan."""
    plan = next((o for o in overrides if o.startswith("plan=")), "plan=")
    return (*chosen_source(overrides), *([] if plan == "plan=" else [plan]))


def _named(s: Session, item: Item) -> str:
    """What a reader knows a trial by that sweep.fixed names."""
    plan = next((o for o in item.overrides if o.startswith("plan=")), "").removeprefix("plan=")
    return f"{plan} of {s.source_of(item.overrides).called}" if s.several else plan


def _search(s: Session, studies: _Studies, where: Space | Spaces, budget: Budget) -> None:
    """Plans that the sampler asks for, one seed each, scored on the first fold."""
    options, ledger = s.bench.options, studies.search
    if (there := len(ledger.counted())) > options.n_trials:
        s.shown.say(
            f"  sweep.n_trials={options.n_trials}, and the study has {there} trials already:"
            " nothing more is searched"
        )
    ledger.on_trial = s.follow("search ", options.n_trials, lambda: len(ledger.counted()))
    ledger.search(
        where,
        s.launch(ledger, Stage.SEARCH, lambda: budget.room),
        n_trials=options.n_trials,
        n_jobs=options.n_jobs,
        max_failure_rate=options.max_failure_rate,
        go_on=lambda: _time_for_another(s, studies, budget),
    )


def _time_for_another(s: Session, studies: _Studies, budget: Budget) -> bool:
    """Whether one more trial of the search leaves the time to confirm and to train finally.

    On all folds what may win, on the fewest what cannot; and one final seed of each.
    """
    contenders, _ = _within_reach(s, studies, budget)
    rounds = len(replicates(s.question, s.settings))
    confirming = sum(
        c.seconds * (rounds if c.candidate else _least_folds(s, studies, c)) for c in contenders
    )
    seconds = expected(studies.timed()) or 0.0
    if not any(c.seconds for c in contenders):  # it would be the first to be compared
        confirming += (FOLDS + SLOWER) * seconds
    return budget.allows("search", seconds, confirming + budget.final(contenders))


def _within_reach(
    s: Session, studies: _Studies, budget: Budget
) -> tuple[list[Contender], Callable[[Contender], float]]:
    """What would be compared if the search ended now, and what each of them still needs.

    A setting that is too dear to be compared keeps no time for itself.
    """
    choose, missing = partial(_compared, s, studies, ()), partial(_missing, s, studies)
    return choose(budget.too_long(choose, missing)), missing


def _compared(
    s: Session, studies: _Studies, known: Sequence[Contender], without: Collection[str] = ()
) -> list[Contender]:
    """The plans to compare: those known without training, and of the trained ones the best.

    without: settings that are not to be had, by key.
    """
    if "search" not in s.settings.sweep.stages:
        return list(known)
    images = len(s.question.partition.folds[0])
    called = (lambda overrides: s.source_of(overrides).called) if s.several else None
    chosen = s.settings.sweep.confirm
    return merged(known, trained(studies.searched(), chosen, images, without, called))


def _missing(s: Session, studies: _Studies, contender: Contender) -> float:
    """How many trainings a contender still needs to be compared and quoted, in trials' time."""
    if contender.outcome is not None:
        return 0.0
    wanted = replicates(s.question, s.settings)[: _least_folds(s, studies, contender)]
    done = (studies.confirm.of(item_of(contender, fold, seed)) for fold, seed in wanted)
    final_item = final.items(contender, studies.confirm, s.question, s.settings)[0]
    last = 0.0 if studies.final.of(final_item) is not None else SLOWER
    return sum(trial is None for trial in done) + last


def _least_folds(s: Session, studies: _Studies, contender: Contender) -> int:
    """How many folds a contender is confirmed on at least: a control that is far behind on one.

    With a final seed that says enough; the minutes are worth more to plans that may win.
    """
    done = studies.searched()
    own = [t for t in done if contender.key == " ".join(t.user_attrs["overrides"])]
    if s.settings.sweep.minutes is None or contender.candidate or not own:
        return FOLDS
    lag = lag_of(own, done, len(s.question.partition.folds[0]))
    return 1 if lag.is_far_for_any_seed else FOLDS


def _confirm(
    s: Session, studies: _Studies, contenders: Sequence[Contender], budget: Budget
) -> list[str]:
    """The best trained plans and the controls again, on other folds. Returns what was left out."""
    ledger = studies.confirm
    wanted = [c for c in contenders if c.outcome is None]
    total = len(wanted) * len(replicates(s.question, s.settings))
    ledger.on_trial = s.follow("confirm", total, lambda: len(ledger.counted()))
    launch = s.launch(ledger, Stage.CONFIRM)

    def allowed(alive: Sequence[Contender], rounds: int) -> Sequence[Contender]:
        reserved = budget.final(contenders)
        due = [c for c in alive if rounds < _least_folds(s, studies, c)]
        if not due:
            return budget.go_on("confirm", alive, 1.0, reserved, together=True)
        if len(due) < len(alive):
            everyone = sum(c.seconds for c in alive)
            return alive if budget.allows("confirm of controls", everyone, reserved) else due
        return alive

    def run(items: Sequence[Item]) -> None:
        ledger.run_list(items, launch, n_jobs=s.bench.options.n_jobs)

    return race(contenders, ledger, s.question, s.settings, run, allowed)


def _conclude(
    s: Session,
    studies: _Studies,
    contenders: Sequence[Contender],
    left_out: Sequence[Contender],
    surveys: Sequence[Surveyed],
    said: Sequence[str],
    budget: Budget,
) -> tuple[Verdict, Contender, Logits]:
    """Choose out of fold, train what is quoted on the whole pool, and only then read the report.

    left_out: what the minutes did not hold. Returns the verdict, the recommended plan, and what its
    model answers of the report split.
    """
    settings, question, wanted = s.settings, s.question, [*contenders, *left_out]
    said = [*said, *_read_before(studies), *never_thawed(studies.searched())]
    known, decided, quoted, short = _choose(s, studies, contenders, budget)
    place = next(i for i, (_, t) in enumerate(known) if t.evidence is decided.recommended)
    if settings.sweep.final == "all":
        said.append(_train_on_all(s, studies, known[place][0]))
    draws, without = _other_draws(s, studies, known[place][0], budget)
    said += [*without, *otherwise(wanted, studies.confirm, studies.final)]
    logits = _report_logits(s, studies, [c for c, _ in known], quoted, surveys)
    y, score = question.target.labels[question.partition.report], question.task.example_scores
    scored = [
        t if z is None else replace(t, report_rn=np.stack([score(one, y) for one in z]))
        for (_, t), z in zip(known, logits, strict=True)
    ]
    answers = logits[place]
    assert answers is not None  # else there is no verdict
    verdict = reach(
        settings.study_name,
        decided,
        scored,
        beside=question.task.beside(answers[0], y),
        margin=settings.sweep.confirm.margin / 100,
        confidence=settings.sweep.confirm.confidence,
        majority=_blind(question),
        pool_images=len(question.partition.pool),
        searched=[facts_of(t) for t in studies.tried()],
        measure=question.task.measure,
        draws=draws,
        seconds=round(budget.spent, 1),
        shortfalls=[*said, *short, *shortfalls(wanted, studies.confirm, settings, said)],
    )
    return verdict, known[place][0], answers[0]


def _report_logits(
    s: Session,
    studies: _Studies,
    known: Sequence[Contender],
    quoted: Sequence[Contender],
    surveys: Sequence[Surveyed],
) -> list[NDArray[np.float32] | None]:
    """What each plan's final trainings answer of the report split; None for what is not quoted."""
    common = studies.confirm, studies.final, s.question, s.settings
    # frozen plans of every cut point, fitted to the whole pool
    refits = {
        one.source.called: refit(s.inputs(one.source), one.findings.penalties()) for one in surveys
    }

    def logits(c: Contender) -> NDArray[np.float32] | None:
        own = refits.get(s.source_of(c.overrides).called, {})
        return final.report_logits(c, own, *common)

    return [logits(c) if final.refitted(c) or c in quoted else None for c in known]


def _choose(
    s: Session, studies: _Studies, contenders: Sequence[Contender], budget: Budget
) -> tuple[list[tuple[Contender, Tried]], Recommendation, list[Contender], list[str]]:
    """Choose out of fold, and train what is quoted on the whole pool.

    Where the final training of a chosen plan fails, the next best one stands in its place. Returns
    what was compared, the choice, what is quoted, and what was left out, a sentence each.
    """
    seen = [(c, tried(c, studies.confirm, s.question, s.settings)) for c in contenders]
    known = [(c, t) for c, t in seen if t is not None]
    said: list[str] = []
    while not all(t.evidence.control for _, t in known):
        margin = s.settings.sweep.confirm.margin / 100
        decided = recommend([t.evidence for _, t in known], margin)
        wanted = [id(decided.best), id(decided.recommended)]
        quoted = [c for c, t in known if id(t.evidence) in wanted or c.controls]
        short = _train_finally(s, studies, quoted, budget)
        common = studies.confirm, studies.final, s.question, s.settings
        lost = [
            c for c, t in known if id(t.evidence) in wanted and not final.taken_home(c, *common)
        ]
        if not lost:
            return known, decided, quoted, [*said, *short, *final.failures(quoted, *common)]
        said += final.failures(lost, *common)
        known = [(c, t) for c, t in known if not any(c is one for one in lost)]
    raise TlsweepError(_why_nothing(studies.confirm, studies.final))


def _take_home(s: Session, studies: _Studies, chosen: Contender, verdict: Verdict) -> Path:
    """Write the model folder: the recommended plan as its final training left it."""
    from tlsweep.model import write_model

    network, trial = network_of(s, chosen, studies.confirm, studies.final)
    about: dict[str, Any] = {
        "metric": verdict.metric,
        "score": verdict.score,
        "interval": verdict.interval,
        "confidence": verdict.confidence,
        "report_images": verdict.report_images,
        "trained_on_images": verdict.pool_images,
        "seed": trial.seed,
        "overrides": verdict.recommended.overrides,
        "sentence": verdict.sentence,
    }
    if trial.train_on == "all":
        images = verdict.pool_images + verdict.report_images
        about |= {"score": None, "interval": None, "trained_on_images": images}
        about["no_score"] = NO_SCORE
    return write_model(s.folder, trial, network, about)


def _train_on_all(s: Session, studies: _Studies, chosen: Contender) -> str:
    """Train the recommended plan once more, on all labels. Returns what its model then lacks."""
    item = final.on_all(chosen, studies.confirm, s.question, s.settings)
    if not chosen.facts.is_deterministic:
        studies.final.run_list([item], s.launch(studies.final, Stage.FINAL), n_jobs=1)
        if studies.final.of(item) is None:
            return "a model of all labels: its training failed; that of the pool is taken home"
    return f"a score of the model to take home: {NO_SCORE}"


def _other_draws(
    s: Session, studies: _Studies, chosen: Contender, budget: Budget
) -> tuple[list[float], list[str]]:
    """Scores of the recommended plan on other draws of the pool, and what was left out."""
    if not (splits := s.settings.sweep.confirm.splits):
        return [], []
    ledger, launch = studies.final, s.launch(studies.final, Stage.FINAL)
    done = len(ledger.counted())
    ledger.on_trial = s.follow("draws  ", splits, lambda: len(ledger.counted()) - done)
    return final.train_on_draws(
        chosen,
        studies.confirm,
        ledger,
        s.question,
        s.settings,
        lambda items: ledger.run_list(items, launch, n_jobs=1),
        lambda: budget.allows("draws", SLOWER * chosen.seconds, CLOSING),
    )


def _train_finally(
    s: Session, studies: _Studies, quoted: Sequence[Contender], budget: Budget
) -> list[str]:
    """Train what is quoted on the whole pool. Returns what was left out for want of time."""
    ledger, total = studies.final, s.settings.sweep.confirm.seeds * len(quoted)
    ledger.on_trial = s.follow("final  ", total, lambda: len(ledger.counted()))
    launch = s.launch(ledger, Stage.FINAL)

    def run(items: Sequence[Item]) -> None:
        ledger.run_list(items, launch, n_jobs=s.bench.options.n_jobs)

    return final.train(
        quoted,
        studies.confirm,
        studies.final,
        s.question,
        s.settings,
        run,
        lambda alive: budget.go_on("final", alive, SLOWER, budget.closing(quoted)),
    )


def _blind(question: Question) -> float:
    """What always giving the answer that suits the pool best scores on the report split."""
    labels, parts, task = question.target.labels, question.partition, question.task
    y = labels[parts.report]
    outputs = np.repeat(task.blind(labels[parts.pool]), len(y), axis=0)
    return float(task.example_scores(outputs, y).mean())


def _why_nothing(*ledgers: Ledger) -> str:
    ended = (t for ledger in ledgers for t in ledger.ended())
    reasons = sorted({reason for t in ended if (reason := reason_of_failure(t))})
    return (
        "no plan could be confirmed: all replicates failed. Reasons: "
        + ("; ".join(reasons) or "none was run")
        + ". Once they are mended, ask anew under another name: study=NAME"
    )


# ---------------------------------------------------------------------- a grid
def _run_grid(s: Session, listed: Sequence[grammar.Override]) -> list[Trial]:
    def names(rest: Sequence[str], key: str) -> Sequence[str]:
        # a grid over sources: each has cut points of its own
        return question_of(read(s.bench.compose([*s.plain, *rest]))).named(key)

    combinations = grammar.grid(listed, names)
    check_combinations(s.bench, s.plain, combinations)
    items = [Item.of(overrides) for overrides in combinations]
    # one study a command line: another one is another grid
    text = "\n".join(sorted([*s.plain, *(item.key for item in items)]))
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    ledger = s.ledger(f"{s.settings.study_name}.grid-{digest}", s.facts())
    with s.recorded(ledger):
        if any(o.key_or_group.split(".")[0] == "source" for o in listed):
            s.shown.say("  lists are a grid, a table of trials; sweep.sources=[A,B] has a verdict")
        ledger.on_trial = s.follow("grid   ", len(items), lambda: len(ledger.counted()))
        ledger.run_list(items, s.launch(ledger, Stage.GRID), n_jobs=s.bench.options.n_jobs)
        if not ledger.counted():
            raise TlsweepError(_why_nothing(ledger).replace("confirmed", "trained"))
        s.record.end_sweep(s.parent_run, "finished", {})
    s.shown.clear()
    trials = ledger.ended()
    screen.console.print(table.grid_table(trials, outcomes_folder(s.folder), s.question))
    return trials


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
