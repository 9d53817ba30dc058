"""What a user should know before believing an answer, in plain words, at the top of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlsweep.report.figure import words_of
from tlsweep.task import Measure
from tlsweep.verdict import ShiftedAnswer, Verdict

FEW_LABELLED = 100  # images of the pool
FEW_OF_CLASS = 10  # images of one class in the pool
WIDE_INTERVAL = 0.05  # half of an interval, as a mean example score
ELSEWHERE = (
    "those come from elsewhere (other people, devices, days), or labelled {things} are nearly"
    " copies of each other"
)
_NAMED = 8


def notes(
    verdict: Verdict,
    said: Sequence[str],
    labelled: Mapping[str, int],
    edges: Sequence[tuple[str, float, Sequence[float]]],
) -> list[str]:
    """A sentence for each reason to be careful; none where there is none.

    said: what was decided about the data; labelled: images of each class in the pool; edges:
    (setting, value, the two ends that were tried) where the best value is one of these ends.
    """
    found = [
        _few_labelled(verdict),
        _few_quoted(verdict),
        _other_images(verdict),
        *(_better_elsewhere(shift, verdict) for shift in verdict.shifts),
        _few_of_class(labelled, verdict.measure.things),
        *(_unsettled(name, control, verdict.measure) for name, control in verdict.controls.items()),
        *(_edge(*edge) for edge in edges),
        *(f"Not measured: {text}." for text in verdict.shortfalls),
        *(f"{text[:1].upper()}{text[1:]}." for text in said),
    ]
    return [text for text in found if text]


def _few_labelled(verdict: Verdict) -> str:
    if verdict.pool_images >= FEW_LABELLED:
        return ""
    return (
        f"Only {verdict.pool_images} labelled {verdict.measure.things} chose the plan: with other"
        f" {verdict.measure.things} another plan could well be chosen."
    )


def _few_quoted(verdict: Verdict) -> str:
    half = (verdict.interval[1] - verdict.interval[0]) / 2
    if half <= WIDE_INTERVAL * verdict.measure.scale:
        return ""
    return (
        f"Only {verdict.report_images} {verdict.measure.things} were set apart to score the plans:"
        f" scores are known to about {verdict.measure.unit.roughly(half)} up or down."
    )


def _other_images(verdict: Verdict) -> str:
    shift = verdict.shift
    if shift is None or not verdict.shifted:
        return ""
    apart, worse = verdict.measure.unit.distance(shift.score), shift.score < 0
    things = verdict.measure.things
    why = ELSEWHERE.format(things=things) if worse else "those are easier, or come from elsewhere"
    return (
        f"On the {things} set apart for scoring, frozen plans are {apart}"
        f" {'worse' if worse else 'better'} than on held-out labelled {things}: more than chance"
        f" explains. Perhaps {why}."
        f" The labelled {things} chose the plan: if new {things} will be like those set apart,"
        " label some of that kind."
    )


def _better_elsewhere(shift: ShiftedAnswer, verdict: Verdict) -> str:
    if not shift.better:
        return ""
    measure, unit = verdict.measure, verdict.measure.unit
    source = shift.source if len(verdict.sources) > 1 else "the source"
    return (
        f"On {measure.things} with {shift.name} another plan is better: {source} frozen up to"
        f" {shift.cut}, {unit.written(shift.other.score)} against"
        f" {unit.written(shift.recommended.score)}. The recommended plan is the answer for"
        f" {measure.things} like the labelled ones."
    )


def _few_of_class(labelled: Mapping[str, int], things: str) -> str:
    few = sorted((n, name) for name, n in labelled.items() if n < FEW_OF_CLASS)
    if not few:
        return ""
    named = ", ".join(f"{name} ({n})" for n, name in few[:_NAMED])
    more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
    return f"Fewer than {FEW_OF_CLASS} labelled {things} to learn from: {named}{more}."


def _unsettled(name: str, control: Mapping[str, Any], measure: Measure) -> str:
    if control["settled"]:
        return ""
    unit, higher = measure.unit, measure.higher_is_better
    words = words_of(name, measure.things)
    what = f"Training {words}" if name == "scratch" else f"The control “{words}”"
    score, bound = unit.written(control["score"]), "lower" if higher else "upper"
    least = f"{what} was still improving when it ended: its {score} is a{'' if higher else 'n'}"
    if name not in ("scratch", "random_features"):
        return f"{least} {bound} bound."
    most = unit.distance(max(0.0, control["recommended_minus_this"]))
    return f"{least} {bound} bound, and transfer helped by at most {most}."


def _edge(setting: str, value: float, ends: Sequence[float]) -> str:
    return (
        f"The best value found for {setting}, {value:.2g}, is at an end of what was tried"
        f" ({ends[0]:.2g} to {ends[1]:.2g}): a wider range may score better."
    )
