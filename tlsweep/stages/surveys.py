"""The survey of every source, entered into its study, and told of as soon as it is there."""

from __future__ import annotations

import numpy as np

from tlsweep.report import write_survey
from tlsweep.stages.budget import Budget
from tlsweep.stages.contenders import Contender, frozen
from tlsweep.stages.guide import Surveyed, enter_survey, run_survey
from tlsweep.stages.session import Session
from tlsweep.stages.studies import Studies
from tlsweep.survey.rows import Frozen, Mix, Place
from tlsweep.task import Measure
from tlsweep.verdict import Interval, Told


def survey_all(
    s: Session, studies: Studies, budget: Budget
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
    if findings.mix is not None:
        _say_mix(s, surveyed, findings.mix, best)


def _say_mix(s: Session, surveyed: Surveyed, mix: Mix, best: Frozen) -> None:
    """What a head on all cut points at once answers, beside the best cut point."""
    task, told = s.question.task, Told(s.question.task.measure, s.settings.sweep.confirm.confidence)
    answered = np.concatenate(list(surveyed.outcomes[best.weights, best.index].held_out.values()))
    y = s.question.target.labels[s.question.partition.held_out]
    mixed = np.array([mix.scores])
    own = told.score(mixed)
    more = told.difference(mixed, task.example_scores(answered, y)[None])
    unit = task.measure.unit
    number = unit.number
    s.shown.say(
        f"  all cut points at once: {_of_images(own.score, task.measure, mixed.shape[1])}"
        f" out of fold ({number(own.low)} to {number(own.high)}), {unit.difference(more.score)}"
        f" on {best.cut} ({unit.signed(more.low)} to {unit.signed(more.high)});"
        f" {mix.features:,} of {mix.of:,} features, the whole network"
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
