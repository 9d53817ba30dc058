"""Looking among trained plans: those that the config names first, then the sampler's."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from tlsweep.config.read import read
from tlsweep.question import Question
from tlsweep.stages import first_trials
from tlsweep.stages.budget import CLOSING, FOLDS, SLOWER, Budget, expected, is_of
from tlsweep.stages.compare import compared, least_folds, trainings_missing
from tlsweep.stages.confirm import replicates
from tlsweep.stages.contenders import Contender, chosen_source, lag_of, may_win
from tlsweep.stages.session import Session
from tlsweep.stages.studies import Studies
from tlsweep.study.ledger import Item
from tlsweep.study.space import Space, Spaces
from tlsweep.terms import Stage
from tlsweep.trial import ends_early


def first_of(s: Session, names: Sequence[str], first: Mapping[str, Sequence[Item]]) -> list[Item]:
    """The trials that come first, source by source, of those that are searched.

    What keeps nothing of a source is the same plan for all of one architecture: it is tried once.
    """
    found: list[Item] = []
    seen = []
    for one in (one for name in names for one in s.sources if one.called == name):
        q = one.question
        architecture = q.cuts.names, q.costs, q.source.spec
        items = first[one.called]
        if architecture in seen:
            items = [item for item in items if _keeps_something(s, q, item)]
        seen.append(architecture)
        found += items
    return found


def _keeps_something(s: Session, question: Question, item: Item) -> bool:
    lines = [*first_trials.inherited(s.plain, item.overrides), *item.overrides]
    return bool(question.plan(read(s.bench.compose(lines)).plan).learned)


def try_named(s: Session, studies: Studies, first: Sequence[Item], budget: Budget) -> list[str]:
    """The plans that sweep.fixed names, one of each first; of what follows as many as time allows.

    So each plan is tried once at least, and what a training of it takes is known, save one that
    surely takes too long. Returns what was not tried, a sentence each.
    """
    ledger = studies.first
    ledger.on_trial = s.follow("first  ", len(first), lambda: ledger.n_counted())
    crew = s.crew(ledger, Stage.FIRST, lambda: budget.room)
    left_out, said = 0, []
    one_each: dict[tuple[str, ...], Item] = {}
    begun: list[Item] = []
    for item in first:
        one_each.setdefault(_family(item.overrides), item)
    others = [item for item in first if item not in one_each.values()]
    for item in filter(ledger.would_run, [*one_each.values(), *others]):
        if why := _far_behind(s, studies, item):
            said.append(why)
            continue
        if _time_for(s, studies, item, budget):
            begun.append(item)
            ledger.run_list(begun, crew, leave=crew.n - 1)  # the next one is decided on then
            continue
        left_out += 1
        if item not in others:
            said.append(f"{_named(s, item)}: {budget.without_room()}")
    ledger.run_list(begun, crew)
    if left_out:
        s.shown.say(f"  sweep.minutes has no room for {left_out} plans of sweep.fixed")
    return said + _given_up(s, studies, one_each.values(), budget)


def _given_up(s: Session, studies: Studies, items: Collection[Item], budget: Budget) -> list[str]:
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


def _far_behind(s: Session, studies: Studies, item: Item) -> str | None:
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


def _time_for(s: Session, studies: Studies, item: Item, budget: Budget) -> bool:
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
    needed = budget.side_by_side(c.seconds * missing(c) for c in contenders)
    return budget.allows(item.key, seconds or 0.0, CLOSING + needed)


def _family(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides that a trial shares with those of the same source and kind of plan."""
    plan = next((o for o in overrides if o.startswith("plan=")), "plan=")
    return (*chosen_source(overrides), *([] if plan == "plan=" else [plan]))


def _named(s: Session, item: Item) -> str:
    """What a reader knows a trial by that sweep.fixed names."""
    plan = next((o for o in item.overrides if o.startswith("plan=")), "").removeprefix("plan=")
    return f"{plan} of {s.source_of(item.overrides).called}" if s.several else plan


def search(s: Session, studies: Studies, where: Space | Spaces, budget: Budget) -> None:
    """Plans that the sampler asks for, one seed each, scored on the first fold."""
    options, ledger = s.bench.options, studies.search
    if (there := ledger.n_counted()) > options.n_trials:
        s.shown.say(
            f"  sweep.n_trials={options.n_trials}, and the study has {there} trials already:"
            " nothing more is searched"
        )
    ledger.on_trial = s.follow("search ", options.n_trials, lambda: ledger.n_counted())
    ledger.search(
        where,
        s.crew(ledger, Stage.SEARCH, lambda: budget.room),
        n_trials=options.n_trials,
        max_failure_rate=options.max_failure_rate,
        go_on=lambda: _time_for_another(s, studies, budget),
    )


def _time_for_another(s: Session, studies: Studies, budget: Budget) -> bool:
    """Whether one more trial of the search leaves the time to confirm and to train finally.

    On all folds what may win, on the fewest what cannot; and one final seed of each.
    """
    if budget.minutes is None:  # whom the time is kept for does not matter: that goes through all
        return True
    contenders, _ = _within_reach(s, studies, budget)
    rounds = len(replicates(s.question, s.settings))
    confirming = budget.side_by_side(
        c.seconds * (rounds if c.candidate else least_folds(s, studies, c)) for c in contenders
    )
    seconds = expected(studies.timed()) or 0.0
    if not any(c.seconds for c in contenders):  # it would be the first to be compared
        confirming += (FOLDS + SLOWER) * seconds
    # smaller pools are confirmed and trained finally as this one is, in so much less time
    reserved = (1 + s.smaller_share) * (confirming + budget.final(contenders))
    return budget.allows("search", seconds, reserved)


def _within_reach(
    s: Session, studies: Studies, budget: Budget
) -> tuple[list[Contender], Callable[[Contender], float]]:
    """What would be compared if the search ended now, and what each of them still needs.

    A setting that is too dear to be compared keeps no time for itself.
    """
    choose, needs = partial(compared, s, studies, ()), partial(trainings_missing, s, studies)
    return choose(budget.too_long(choose, needs)), needs
