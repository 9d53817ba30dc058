"""The answer in plain words: the same text on the terminal, the page and the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlsweep.verdict.contrast import Contrast
from tlsweep.verdict.intervals import Interval

WITHOUT = {
    "scratch": "training from scratch",
    "random_features": "random weights",
    "raw_pixels": "the raw pixels",
}


def sentence(
    *,
    recommended: Mapping[str, Any],
    scored: Interval,
    best: Any,
    contrasts: Sequence[Contrast],
    majority: float,
    margin: float,
    more_images: int | None,
    confidence: float,
) -> str:
    """What to do, how well that does, whether a better plan costs more, whether transfer helped.

    recommended: facts of the plan; scored: on the report split; best: the row of the best plan
    where it is another one, else None; majority: accuracy of always naming the most frequent class;
    more_images: labelled images that would show a cheaper plan to be as good, None if unknown.
    """
    said = [
        _no_better_than_majority(scored, majority),
        f"{_what(recommended)}: {percent(scored.score)} of new images are classified rightly"
        f" ({100 * confidence:g} % interval {percent(scored.low)} to {percent(scored.high)}).",
        _against_best(recommended, best, margin),
        _more(more_images),
        _transfer(contrasts),
    ]
    return " ".join(text for text in said if text)


def percent(share: float) -> str:
    """0.9521 as ``95.2 %``."""
    return f"{100 * share:.1f} %"


def _no_better_than_majority(scored: Interval, majority: float) -> str:
    if scored.low > majority:
        return ""
    return (
        "Nothing was shown to be better than always naming the most frequent class"
        f" ({percent(majority)})."
    )


def _what(facts: Mapping[str, Any]) -> str:
    keep, freeze, regrow, n = facts["keep"], facts["freeze"], facts["regrow"], facts["n_blocks"]
    kept = f"all {n} blocks" if keep == n else f"{keep} of {n} blocks (up to {facts['keep_name']})"
    how = (
        "frozen"
        if freeze == keep
        else "and train them"
        if freeze == 0
        else f"the first {freeze} frozen, the others trained"
    )
    fresh = f", with {regrow - keep} new blocks above" if regrow > keep else ""
    return f"Keep {kept}, {how}{fresh}"


def _against_best(recommended: Mapping[str, Any], best: Any, margin: float) -> str:
    if best is None:
        return ""
    share = recommended["flops"] / max(1, best.flops)
    work = f"{share:.0%} of the computation".replace("%", " %") if share < 1 else "less training"
    return (
        f"The best plan ({' '.join(best.overrides[:2])}) is at most {100 * margin:g} points better;"
        f" this one takes {work}."
    )


def _more(images: int | None) -> str:
    if images is None:
        return ""
    return f"About {images:,} labelled images would show whether a cheaper plan is as good."


def _transfer(contrasts: Sequence[Contrast]) -> str:
    if not contrasts:
        return "Whether transfer helped was not measured."
    harm = [c for c in contrasts if c.outcome == "harm"]
    if harm:
        more = " and ".join(f"{WITHOUT[c.control]} scores {_points(c)} more" for c in harm)
        return f"Transfer does not help here: {more}."
    unclear = [c for c in contrasts if c.outcome != "effect"]
    if not unclear:
        margins = ", ".join(f"{_points(c)} above {WITHOUT[c.control]}" for c in contrasts)
        scratch = any(c.control == "scratch" for c in contrasts)
        unknown = "" if scratch else " Against training from scratch it was not measured."
        return f"Transfer helped: {margins}.{unknown}"
    names = " and ".join(
        f"{WITHOUT[c.control]} ({100 * c.difference:+.1f} points, {_range(c)};"
        f" this study would have shown {100 * c.detectable:.1f})"
        for c in unclear
    )
    return f"It is not shown that transfer helped against {names}."


def _points(c: Contrast) -> str:
    return f"{100 * abs(c.difference):.1f} points"


def _range(c: Contrast) -> str:
    return f"{100 * c.low:+.1f} to {100 * c.high:+.1f}"
