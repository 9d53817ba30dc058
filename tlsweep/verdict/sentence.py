"""The answer in plain words: the same text on the terminal, the page and the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlsweep.verdict.intervals import Interval
from tlsweep.verdict.transfer import Contrast

WITHOUT = {"scratch": "training from scratch", "random_features": "random weights"}


def sentence(
    *,
    recommended: Mapping[str, Any],
    scored: Interval,
    best: Any,
    contrasts: Sequence[Contrast],
    majority: float,
    margin: float,
    confidence: float,
) -> str:
    """What to do, how well it does, whether a better plan costs more, and whether transfer helped.

    recommended: facts of the plan; scored: on the report split; best: the row of the best plan where
    it is another one, else None; majority: accuracy of always naming the most frequent class.
    """
    said = [
        _no_better_than_majority(scored, majority),
        f"{_what(recommended)}: {percent(scored.score)} of new images are classified rightly"
        f" ({100 * confidence:g} % interval {percent(scored.low)} to {percent(scored.high)}).",
        _against_best(recommended, best, margin),
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


def _transfer(contrasts: Sequence[Contrast]) -> str:
    known = [c for c in contrasts if c.report is not None]
    if not known:
        return "Whether transfer helped was not measured."
    shown = [c for c in known if c.shown]
    worse = [c for c in known if c.report is not None and c.report.high < 0]
    if worse:
        more = " and ".join(
            f"{WITHOUT[c.control]} scores {-100 * c.report.score:.1f} points more"
            for c in worse
            if c.report is not None
        )
        return f"Transfer does not help here: {more}."
    if len(shown) == len(known):
        margins = " and ".join(
            f"{100 * c.report.score:.1f} points above {WITHOUT[c.control]}"
            for c in known
            if c.report is not None
        )
        return f"Transfer helped: {margins}."
    unclear = [c for c in known if not c.shown]
    names = " and ".join(
        f"{WITHOUT[c.control]} (this study could have shown {100 * c.detectable:.1f} points)"
        for c in unclear
    )
    return f"It is not shown that transfer helped against {names}."
