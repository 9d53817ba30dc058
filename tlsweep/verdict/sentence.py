"""The answer in plain words: the same text on the terminal, the page and the record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlsweep.facts import NEVER_THAWED, Facts
from tlsweep.task.metric import Measure
from tlsweep.task.unit import Unit
from tlsweep.terms import BlockState
from tlsweep.verdict.contrast import Contrast
from tlsweep.verdict.intervals import Interval

_WITHOUT = {
    "scratch": "training from scratch",
    "random_features": "random weights",
}


def raw(things: str) -> str:
    """What examples are before any block."""
    return "raw pixels" if things == "images" else "raw input"


def without(control: str, things: str) -> str:
    """A control that keeps nothing of the source, in words."""
    return _WITHOUT.get(control) or f"the {raw(things)}"


def sentence(
    *,
    measure: Measure,
    recommended: Facts,
    scored: Interval,
    best: Any,
    contrasts: Sequence[Contrast],
    majority: float,
    margin: float,
    more_images: int | None,
    confidence: float,
    sources: int = 1,
) -> str:
    """What to do, how well that does, whether a better plan costs more, whether transfer helped.

    measure: of the metric; scores are in its unit; recommended: facts of the plan; scored: on the
    report split; best: the row of the best plan where it is another one, else None; majority: score
    of always giving the same answer; more_images: labelled images that would show a cheaper plan to
    be as good, None if unknown; sources: how many were compared.
    """
    unit = measure.unit
    which = "" if sources == 1 else f"Of {sources} sources, take {recommended.source}. "
    between = f"{unit.written(scored.low)} to {unit.written(scored.high)}"
    said = [
        _no_better_than_blind(scored, majority, measure),
        f"{which}{what_to_keep(recommended)}: {_scored(scored.score, measure)}"
        f" ({100 * confidence:g} % interval {between}).",
        _against_best(recommended, best, unit.rounded(margin), sources),
        _more(more_images, measure),
        _transfer(contrasts, measure),
    ]
    return " ".join(text for text in said if text)


def _scored(score: float, measure: Measure) -> str:
    written = measure.unit.written(score)
    if measure.is_share_right:
        return f"{written} of new {measure.things} are classified rightly"
    return f"on new {measure.things} its {measure.words} is {written}"


def _no_better_than_blind(scored: Interval, majority: float, measure: Measure) -> str:
    better = scored.low > majority if measure.higher_is_better else scored.high < majority
    if better:
        return ""
    written = measure.unit.written(majority)
    return f"Nothing was shown to be better than always naming the {measure.blind} ({written})."


def what_to_keep(facts: Facts) -> str:
    """The plan in plain words: ``Keep 3 of 8 blocks (up to block3), frozen``."""
    plan, count, new = facts.plan, len(facts.plan.kept), len(facts.plan.blocks(BlockState.FRESH))
    limits = [] if plan.keep == plan.n_blocks else [f"up to {facts.keep_name}"]
    if plan.left_out:
        limits.append(f"without {_and(facts.regions['dropped'])}")
    kept = f"{count} of {plan.n_blocks} blocks ({', '.join(limits)})"
    fresh = f", with {new} new blocks above" if new else ""
    never = ""
    if blocks := facts.regions.get(NEVER_THAWED):
        never = f" (training ended before its schedule thawed {_and(blocks)})"
    return f"Keep {kept if limits else f'all {count} blocks'}, {_how(facts)}{fresh}{never}"


def _how(facts: Facts) -> str:
    """What is done with the kept blocks."""
    plan = facts.plan
    states = {plan.states[i] for i in plan.kept}
    if states <= {BlockState.FROZEN}:
        return "frozen"
    if states == {BlockState.TUNED}:
        return "and train them"
    if plan.is_monotone:
        return f"the first {plan.freeze} frozen, the others trained"
    regions = {name: _and(text) for name, text in facts.regions.items()}
    tuned = f" but for {regions['tuned']}, trained" if BlockState.TUNED in states else ""
    if BlockState.ADAPTED not in states:
        return f"frozen{tuned}"
    where = "their weights" if states == {BlockState.ADAPTED} else regions["adapted"]
    return f"frozen{tuned}, with trained additions of rank {plan.rank} to {where}"


def _and(blocks: str) -> str:
    """``block1, block3..block5`` as people say it."""
    return " and ".join(blocks.replace("..", " to ").rsplit(", ", 1))


def _against_best(recommended: Facts, best: Any, margin: str, sources: int) -> str:
    if best is None:
        return ""
    share = recommended.flops / max(1, best.flops)
    work = f"{share:.0%} of the computation".replace("%", " %") if share < 1 else "less training"
    named = [o for o in best.overrides if not o.startswith(("source=", "source."))][:2]
    whose = "" if sources == 1 else f", of {best.source}"
    return (
        f"The best plan ({' '.join(named)}{whose}) is at most {margin} better;"
        f" this one takes {work}."
    )


def _more(more: int | None, measure: Measure) -> str:
    if more is None:
        return ""
    return f"About {more:,} labelled {measure.things} would show whether a cheaper plan is as good."


def _transfer(contrasts: Sequence[Contrast], measure: Measure) -> str:
    if not contrasts:
        return "Whether transfer helped was not measured."
    unit, higher, things = measure.unit, measure.higher_is_better, measure.things
    harm = [c for c in contrasts if c.outcome == "harm"]
    if harm:
        word = "more" if higher else "less"
        more = " and ".join(
            f"{without(c.control, things)} scores {unit.distance(c.difference)} {word}"
            for c in harm
        )
        return f"Transfer does not help here: {more}."
    unclear = [c for c in contrasts if c.outcome != "effect"]
    if not unclear:
        than = "above" if higher else "less than"
        margins = ", ".join(
            f"{unit.distance(c.difference)} {than} {without(c.control, things)}" for c in contrasts
        )
        scratch = any(c.control == "scratch" for c in contrasts)
        unknown = "" if scratch else " Against training from scratch it was not measured."
        return f"Transfer helped: {margins}.{unknown}"
    names = " and ".join(
        f"{without(c.control, things)} ({_gain(c, unit, higher)};"
        f" this study would have shown {unit.number(c.detectable)})"
        for c in unclear
    )
    return f"It is not shown that transfer helped against {names}."


def _gain(c: Contrast, unit: Unit, higher: bool) -> str:
    """A difference with its interval: of scores, in the sign that they have."""
    ends = (c.low, c.high) if higher else (-c.high, -c.low)
    own = c.difference if higher else -c.difference
    return f"{unit.difference(own)}, {unit.signed(ends[0])} to {unit.signed(ends[1])}"
