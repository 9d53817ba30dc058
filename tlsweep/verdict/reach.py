"""From a choice and final scores to a verdict: scores with intervals, and one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tlsweep.verdict.decide import Choice, Standing
from tlsweep.verdict.intervals import Interval, accuracy_interval, difference_interval
from tlsweep.verdict.sentence import sentence
from tlsweep.verdict.transfer import Contrast, contrasts
from tlsweep.verdict.tried import Table, Tried

WITHOUT_SOURCE = ("raw_pixels", "random_features", "scratch")


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
    trained_parameters: int
    flops: int
    lr: float
    lr_ratio: float
    state: str
    overrides: list[str]  # what to write on the command line for just this plan
    augmentation: str = "none"  # which views of the fit images it was trained on
    probe_penalty: float | None = None  # of a linear head on frozen blocks; None for other plans


@dataclass(frozen=True)
class Scored:
    """A score on the report split.

    score, interval: of the model that is taken home, the first seed, on such images (Wilson);
    mean, seeds: over all final trainings.
    """

    score: float
    interval: list[float]
    mean: float
    seeds: list[float]


@dataclass(frozen=True)
class PlanRow:
    """A plan as the table of a verdict shows it.

    out_of_fold, replicates: accuracy on held-out examples of the pool, over so many folds or seeds;
    less_than_best, interval: how much worse than the best on the folds that both have; p_best: the
    probability that it is the best candidate; expected_loss: of choosing it, in accuracy; report:
    None where it was not trained on the whole pool.
    """

    plan: str
    cut: str
    index: int
    state: str
    overrides: list[str]
    controls: list[str]
    candidate: bool
    flops: int
    trained_parameters: int
    out_of_fold: float
    replicates: int
    less_than_best: float
    interval: list[float]
    p_best: float
    expected_loss: float
    report: Scored | None


@dataclass(frozen=True)
class CurvePoint:
    """Score at one cut point on the report split; replicates: trainings on the whole pool."""

    cut: str
    index: int
    state: str
    score: float
    interval: list[float]
    replicates: int


@dataclass(frozen=True)
class Verdict:
    """The answer to a question, as it is written to verdict.json."""

    study: str
    metric: str
    recommended: Recommended
    score: float
    interval: list[float]
    mean_score: float
    seed_scores: list[float]
    best: PlanRow
    cheaper: PlanRow | None
    minus_best: Interval | None  # recommended minus best, report split; None where they are one
    more_images: int | None  # labelled images that would show a cheaper plan to be as good
    margin: float
    plans: list[PlanRow]
    controls: dict[str, dict[str, Any]]
    majority: float
    curve: list[CurvePoint]
    contrasts: list[Contrast]
    helped: bool
    n_trials: int
    seconds: float
    sentence: str
    confidence: float
    replicates: int
    report_images: int
    pool_images: int
    folds: int
    shortfalls: list[str]  # what was to be measured and was not, and why

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


_RECOMMENDED = frozenset(Recommended.__dataclass_fields__)


def reach(
    study: str,
    choice: Choice,
    tried: Sequence[Tried],
    *,
    confidence: float,
    majority: float,
    n_trials: int,
    seconds: float,
    shortfalls: Sequence[str] = (),
) -> Verdict:
    """The verdict of a study.

    choice: made out of fold, before the report split was read; tried: the plans that it was made
    from, in the same order, now with their report scores; majority: accuracy of always naming the
    pool's most frequent class, on the report split.
    Raises ValueError if the recommended plan or the best one has no report scores.
    """
    recommended, best = tried[choice.recommended], tried[choice.best]
    if recommended.report_rn is None or best.report_rn is None:
        raise ValueError("what is recommended and what is best are scored on the report split")
    rows = [_row(t, s, confidence) for t, s in zip(tried, choice.standings, strict=True)]
    controls = _controls(recommended, tried, confidence)
    found = contrasts(best, tried, confidence)
    minus_best = None
    if recommended is not best:
        minus_best = difference_interval(recommended.report_rn, best.report_rn, confidence)
    quoted = _scored(recommended.report_rn, confidence)
    helped = bool(found) and all(c.shown for c in found)
    return Verdict(
        study=study,
        metric="accuracy",
        recommended=Recommended(
            **{name: recommended.facts[name] for name in recommended.facts if name in _RECOMMENDED},
            overrides=list(recommended.overrides),
        ),
        score=quoted.score,
        interval=quoted.interval,
        mean_score=quoted.mean,
        seed_scores=quoted.seeds,
        best=rows[choice.best],
        cheaper=None if choice.cheaper is None else rows[choice.cheaper],
        minus_best=minus_best,
        more_images=choice.more_images,
        margin=choice.margin,
        plans=rows,
        controls=controls,
        majority=majority,
        curve=_curve(tried, confidence),
        contrasts=found,
        helped=helped,
        n_trials=n_trials,
        seconds=seconds,
        sentence=sentence(
            recommended=recommended.facts,
            scored=Interval(quoted.score, *quoted.interval),
            best=None if recommended is best else rows[choice.best],
            contrasts=found,
            majority=majority,
            margin=choice.margin,
            confidence=confidence,
        ),
        confidence=confidence,
        replicates=len(recommended.report_rn),
        report_images=recommended.report_rn.shape[1],
        pool_images=recommended.scores_rn.shape[1],
        folds=len(set(recommended.fold_r.tolist())),
        shortfalls=list(shortfalls),
    )


def _scored(report_rn: Table, confidence: float) -> Scored:
    first = accuracy_interval(report_rn[:1], confidence)
    seeds = [float(share) for share in report_rn.mean(1)]
    return Scored(first.score, first.as_list(), float(np.mean(seeds)), seeds)


def _row(t: Tried, standing: Standing, confidence: float) -> PlanRow:
    f = t.facts
    return PlanRow(
        plan=f["plan"],
        cut=f["keep_name"],
        index=f["keep"],
        state="random" if f["random_weights"] else f["state"],
        overrides=list(t.overrides),
        controls=list(t.controls),
        candidate=t.candidate,
        flops=f["flops"],
        trained_parameters=f["trained_parameters"],
        out_of_fold=t.score,
        replicates=len(t.fold_r),
        less_than_best=standing.less.score,
        interval=standing.less.as_list(),
        p_best=standing.p_best,
        expected_loss=standing.expected_loss,
        report=None if t.report_rn is None else _scored(t.report_rn, confidence),
    )


def _controls(
    recommended: Tried, tried: Sequence[Tried], confidence: float
) -> dict[str, dict[str, Any]]:
    assert recommended.report_rn is not None
    found = {}
    for control in tried:
        if control.report_rn is None:
            continue
        own = accuracy_interval(control.report_rn, confidence)
        less = difference_interval(recommended.report_rn, control.report_rn, confidence)
        for name in control.controls:
            found[name] = {
                "score": own.score,
                "interval": own.as_list(),
                "recommended_minus_this": less.score,
                "difference_interval": less.as_list(),
                "keep_name": control.facts["keep_name"],
                "random_weights": control.facts["random_weights"],
                "settled": control.settled,
            }
    return dict(sorted(found.items(), key=lambda item: -item[1]["score"]))


def _curve(tried: Sequence[Tried], confidence: float) -> list[CurvePoint]:
    """Every frozen cut point, and trained plans where they were scored on the report split too."""
    best: dict[tuple[str, int], Tried] = {}
    for t in tried:
        if t.report_rn is None or not _on_curve(t.facts):
            continue
        place = (t.facts["state"], t.facts["keep"])
        # where several plans keep the same blocks, what held-out examples say counts
        if place not in best or t.score > best[place].score:
            best[place] = t
    return [_point(best[place], confidence) for place in sorted(best)]


def _on_curve(facts: Mapping[str, Any]) -> bool:
    if facts["random_weights"] or (facts["keep"] == 0 and facts["regrow"] > 0):
        return False  # nothing of the source is in it
    return bool(facts["state"] == "tuned" or facts["regrow"] == facts["keep"])


def _point(t: Tried, confidence: float) -> CurvePoint:
    assert t.report_rn is not None
    own = accuracy_interval(t.report_rn, confidence)
    f = t.facts
    return CurvePoint(
        cut=f["keep_name"],
        index=f["keep"],
        state=f["state"],
        score=own.score,
        interval=own.as_list(),
        replicates=len(t.report_rn),
    )
