"""From confirmed plans to a verdict: recommendation, scores with intervals, one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlsweep.verdict.intervals import Interval, accuracy_interval, difference_interval
from tlsweep.verdict.rule import Rule, choose

Hits = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Confirmed:
    """A plan and its hits.

    facts: as a trial notes them (plan, freeze, keep, regrow, names, cost); controls: the control
    names that this plan answers to; select_hits: [replicates, images]; report_hits: the same on
    the report split, None for a plan that was only searched.
    """

    facts: Mapping[str, Any]
    select_hits: Hits
    report_hits: Hits | None
    controls: tuple[str, ...] = ()
    candidate: bool = True
    overrides: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, ...]:
        """Kept blocks, then trained kept blocks, then blocks in all: what a user pays for."""
        f = self.facts
        return f["keep"], f["keep"] - f["freeze"], f["regrow"]


@dataclass(frozen=True)
class Recommended:
    """The plan to use."""

    plan: str
    freeze: int
    keep: int
    regrow: int
    keep_name: str
    kept_fraction: float
    n_blocks: int
    kept_parameters: int
    lr: float
    lr_ratio: float
    state: str
    overrides: list[str]  # what to write on the command line for just this plan
    augmentation: str = "none"  # which views of the fit images it was trained on
    probe_penalty: float | None = None  # of a linear head on frozen blocks; None for other plans


@dataclass(frozen=True)
class CurvePoint:
    """Score at one cut point, on ``split``, with so many replicates behind it."""

    cut: str
    index: int
    state: str
    score: float
    interval: list[float]
    split: str
    replicates: int


@dataclass(frozen=True)
class Verdict:
    """The answer to a question, as it is written to verdict.json."""

    study: str
    metric: str
    recommended: Recommended
    score: float
    interval: list[float]
    controls: dict[str, dict[str, Any]]
    curve: list[CurvePoint]
    n_trials: int
    seconds: float
    sentence: str
    helped: bool
    confidence: float
    replicates: int
    report_images: int
    select_images: int
    shortfalls: list[str]  # what was to be measured and was not, and why
    best: dict[str, Any]  # the plan that did best on the select split, whatever it keeps

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


_RECOMMENDED = frozenset(Recommended.__dataclass_fields__)


def reach(
    study: str,
    confirmed: Sequence[Confirmed],
    searched: Sequence[Confirmed],
    *,
    rule: Rule,
    confidence: float,
    n_trials: int,
    seconds: float,
    shortfalls: Sequence[str] = (),
) -> Verdict:
    """The verdict of a study.

    confirmed: plans with replicates on the report split, the controls among them; searched: other
    plans, for the curve. The choice is made on the select split; every score that is quoted comes
    from the report split. Raises ValueError if no confirmed plan is a candidate.
    """
    chosen = choose([c for c in confirmed if c.candidate], rule, confidence)
    assert chosen.report_hits is not None
    score = accuracy_interval(chosen.report_hits, confidence)
    controls = {
        name: _control(chosen.report_hits, c, confidence)
        for c in confirmed
        for name in c.controls
        if c.report_hits is not None
    }
    controls = dict(sorted(controls.items(), key=lambda item: -item[1]["score"]))
    helped = _helped(chosen, controls)
    return Verdict(
        study=study,
        metric="accuracy",
        recommended=Recommended(
            **{name: chosen.facts[name] for name in chosen.facts if name in _RECOMMENDED},
            overrides=list(chosen.overrides),
        ),
        score=score.score,
        interval=score.as_list(),
        controls=controls,
        curve=_curve(confirmed, searched, confidence),
        n_trials=n_trials,
        seconds=seconds,
        sentence=_sentence(
            chosen, score, controls, helped, confidence, _best_rival(chosen, confirmed, confidence)
        )
        + _better(chosen, controls, _best_on_select(confirmed), rule),
        helped=helped,
        confidence=confidence,
        replicates=len(chosen.report_hits),
        report_images=chosen.report_hits.shape[1],
        select_images=chosen.select_hits.shape[1],
        shortfalls=list(shortfalls),
        best=_best(confirmed, confidence),
    )


def _best_on_select(confirmed: Sequence[Confirmed]) -> Confirmed:
    return max(
        (c for c in confirmed if c.candidate and c.report_hits is not None),
        key=lambda c: float(c.select_hits.mean()),
    )


def _best(confirmed: Sequence[Confirmed], confidence: float) -> dict[str, Any]:
    best = _best_on_select(confirmed)
    assert best.report_hits is not None
    own = accuracy_interval(best.report_hits, confidence)
    return {
        "overrides": list(best.overrides),
        "keep_name": best.facts["keep_name"],
        "score": own.score,
        "interval": own.as_list(),
    }


def _best_rival(
    chosen: Confirmed, confirmed: Sequence[Confirmed], confidence: float
) -> tuple[Confirmed, Interval] | None:
    """The best plan on the select split that keeps some of the source, and what it scores more."""
    assert chosen.report_hits is not None
    rivals = [c for c in confirmed if c.candidate and c.facts["keep"] > 0]
    if not rivals:
        return None
    best = _best_on_select(rivals)
    assert best.report_hits is not None
    return best, difference_interval(best.report_hits, chosen.report_hits, confidence)


def _control(chosen: Hits, control: Confirmed, confidence: float) -> dict[str, Any]:
    assert control.report_hits is not None
    own = accuracy_interval(control.report_hits, confidence)
    less = difference_interval(chosen, control.report_hits, confidence)
    return {
        "score": own.score,
        "interval": own.as_list(),
        "recommended_minus_this": less.score,
        "difference_interval": less.as_list(),
        "keep_name": control.facts["keep_name"],
        "random_weights": control.facts["random_weights"],
    }


def _helped(chosen: Confirmed, controls: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the source's weights helped: the plan beats the controls that have none of them."""
    if chosen.facts["keep"] == 0:
        return False
    without = [controls[n] for n in ("scratch", "random_features") if n in controls]
    # where no control was measured, nothing is shown
    return bool(without) and all(control["difference_interval"][0] > 0 for control in without)


def _curve(
    confirmed: Sequence[Confirmed], searched: Sequence[Confirmed], confidence: float
) -> list[CurvePoint]:
    best: dict[tuple[str, int], Confirmed] = {}
    for plan in [*confirmed, *searched]:
        if not _on_curve(plan.facts):
            continue
        place = (plan.facts["state"], plan.facts["keep"])
        known = best.get(place)
        # where several plans keep the same blocks, the select split says which one is shown
        if known is None or _rank(plan) > _rank(known):
            best[place] = plan
    return [_point(best[place], confidence) for place in sorted(best)]


def _on_curve(facts: Mapping[str, Any]) -> bool:
    if facts["random_weights"] or (facts["keep"] == 0 and facts["regrow"] > 0):
        return False  # nothing of the source is in it
    return bool(facts["state"] == "tuned" or facts["regrow"] == facts["keep"])


def _rank(plan: Confirmed) -> tuple[bool, float]:
    return plan.report_hits is not None, float(plan.select_hits.mean())


def _point(plan: Confirmed, confidence: float) -> CurvePoint:
    split = "select" if plan.report_hits is None else "report"
    hits = plan.select_hits if plan.report_hits is None else plan.report_hits
    own = accuracy_interval(hits, confidence)
    return CurvePoint(
        cut=plan.facts["keep_name"],
        index=plan.facts["keep"],
        state=plan.facts["state"],
        score=own.score,
        interval=own.as_list(),
        split=split,
        replicates=len(hits),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _sentence(
    chosen: Confirmed,
    score: Interval,
    controls: Mapping[str, Mapping[str, Any]],
    helped: bool,
    confidence: float,
    rival: tuple[Confirmed, Interval] | None,
) -> str:
    facts = chosen.facts
    what = _what(facts)
    scored = (
        f"{what} scores {_percent(score.score)} "
        f"({100 * confidence:g} % interval {_percent(score.low)} to {_percent(score.high)})."
    )
    if facts["keep"] == 0:
        if rival is None or rival[1].high < 0:
            return f"Transfer did not help: keep nothing of the source. {scored}{_rival(rival)}"
        return f"It is not shown that keeping any of the source helps. {scored}{_rival(rival)}"
    if not helped:
        equal = [
            name.replace("_", " ")
            for name in ("scratch", "random_features")
            if name in controls and controls[name]["difference_interval"][0] <= 0
        ]
        why = f"{' and '.join(equal)} may do as well" if equal else "no control was measured"
        return f"{scored} But it is not shown that transfer helped: {why}."
    margins = [
        f"{100 * controls[n]['recommended_minus_this']:.1f} points above {n.replace('_', ' ')}"
        f"{_elsewhere(controls[n], facts)}"
        for n in ("scratch", "random_features")
        if n in controls
    ]
    return f"{scored} Transfer helped: {', '.join(margins)}."


def _elsewhere(control: Mapping[str, Any], chosen: Mapping[str, Any]) -> str:
    """Of random weights at another cut point than the recommended one, which it is."""
    same = control["keep_name"] == chosen["keep_name"]
    return f" (up to {control['keep_name']})" if control["random_weights"] and not same else ""


def _better(
    chosen: Confirmed, controls: Mapping[str, Mapping[str, Any]], best: Confirmed, rule: Rule
) -> str:
    """What to say where a control is better on the report split than what is recommended.

    best: on the select split, whatever it keeps.
    """
    found = [
        f"{name.replace('_', ' ')} scores {-100 * c['recommended_minus_this']:.1f} points more"
        for name, c in controls.items()
        if c["difference_interval"][1] < 0
    ]
    if not found:
        return ""
    what, n = " and ".join(found), chosen.select_hits.shape[1]
    if best.select_hits.mean() <= chosen.select_hits.mean():
        why = f"on the {n} select images nothing looked better than what is recommended"
    else:
        why = (
            f"sweep.confirm.rule={rule} gives up accuracy for a smaller prefix, as far as {n}"
            f" select images cannot tell; best would recommend keeping {best.facts['keep']} blocks"
        )
    return f" {what[0].upper()}{what[1:]}: {why}."


def _rival(rival: tuple[Confirmed, Interval] | None) -> str:
    if rival is None:
        return ""
    plan, more = rival
    low, high = 100 * more.low, 100 * more.high
    return (
        f" The best plan that keeps some of it (up to {plan.facts['keep_name']}) is"
        f" {100 * more.score:+.1f} points from that ({low:+.1f} to {high:+.1f})."
    )


def _what(facts: Mapping[str, Any]) -> str:
    keep, freeze, regrow, n = facts["keep"], facts["freeze"], facts["regrow"], facts["n_blocks"]
    if keep == 0:
        return "A head on the raw input" if regrow == 0 else "The architecture trained from scratch"
    kept = f"all {n} blocks" if keep == n else f"{keep} of {n} blocks (up to {facts['keep_name']})"
    frozen = (
        "frozen" if freeze == keep else "tuned" if freeze == 0 else f"the first {freeze} frozen"
    )
    fresh = f", {regrow - keep} fresh blocks above" if regrow > keep else ""
    return f"Keeping {kept}, {frozen}{fresh},"
