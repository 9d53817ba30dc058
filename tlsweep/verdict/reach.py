"""From a choice and final scores to a verdict: scores with intervals, and one plain sentence."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tlsweep.facts import Facts
from tlsweep.task.metric import Beside, Measure
from tlsweep.terms import BlockState
from tlsweep.verdict.contrast import Contrast, contrast
from tlsweep.verdict.evidence import Table, compare
from tlsweep.verdict.intervals import Interval
from tlsweep.verdict.mixed import Mixed
from tlsweep.verdict.rule import Recommendation
from tlsweep.verdict.sentence import sentence
from tlsweep.verdict.shift import beyond_chance, report_less_held_out
from tlsweep.verdict.shifted import ShiftedAnswer, ShiftedScores, shifted_answers
from tlsweep.verdict.told import Told
from tlsweep.verdict.tried import Tried, family_of

if TYPE_CHECKING:
    import pandas

WITHOUT_SOURCE = ("scratch", "random_features", "raw_pixels")  # controls that keep none of it


@dataclass(frozen=True)
class Recommended:
    """The plan to use, and what the source is called that it is of."""

    source: str
    plan: str
    freeze: int
    keep: int
    regrow: int
    keep_name: str
    kept_fraction: float
    n_blocks: int
    states: list[str]  # of the blocks, from the input up
    regions: dict[str, str]  # what the three cut points do not say, by state
    kept_parameters: int
    trained_parameters: int
    flops: int
    lr: float
    lr_ratio: float
    state: str
    overrides: list[str]  # what to write on the command line for just this plan
    augmentation: str = "none"  # which views of the fit images it was trained on
    probe_penalty: float | None = None  # of a linear head on frozen blocks; None for other plans
    adapted_layers: int = 0  # layers of adapted blocks that have trained additions
    frozen_layers: int = 0  # layers of adapted blocks that have none: norms, grouped convolutions

    @classmethod
    def of(cls, tried: Tried) -> Recommended:
        """The plan of the table's row."""
        f, plan = tried.facts, tried.facts.plan
        return cls(
            source=f.source,
            plan=f.name,
            freeze=plan.freeze,
            keep=plan.keep,
            regrow=plan.regrow,
            keep_name=f.keep_name,
            kept_fraction=round(plan.kept_fraction, 4),
            n_blocks=plan.n_blocks,
            states=[str(state) for state in plan.states],
            regions=f.regions,
            kept_parameters=f.kept_parameters,
            trained_parameters=f.trained_parameters,
            flops=f.flops,
            lr=f.lr,
            lr_ratio=f.lr_ratio,
            state=f.state,
            overrides=list(tried.overrides),
            augmentation=f.augmentation,
            probe_penalty=f.probe_penalty,
            adapted_layers=f.adapted_layers,
            frozen_layers=f.frozen_layers,
        )

    @property
    def kept_blocks(self) -> int:
        """How many blocks start from the source."""
        return sum(state not in ("fresh", "dropped") for state in self.states)


@dataclass(frozen=True)
class Scored:
    """A score on the report split.

    score, interval: of the model that is taken home, the first seed, on such images (Wilson where
    each is right or wrong); mean, seeds: over all final trainings. In the metric's own unit.
    """

    score: float
    interval: list[float]
    mean: float
    seeds: list[float]


@dataclass(frozen=True)
class PlanRow:
    """A plan as the table of a verdict shows it. source: what that is called.

    out_of_fold, replicates: score on held-out examples of the pool, over so many folds or seeds;
    less_than_best, interval: how much worse than the best on the folds that both have; p_best: the
    probability that it is the best candidate; expected_loss: what taking it is expected to give up
    of the score, None for a plan that was not to be chosen (a control, or one that was dropped);
    report: None where it was not trained on the whole pool; regions: what a cut point does not say.
    """

    source: str
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
    expected_loss: float | None
    report: Scored | None
    regions: dict[str, str]


@dataclass(frozen=True)
class CurvePoint:
    """Score at one cut point on the report split; replicates: trainings on the whole pool."""

    source: str
    cut: str
    index: int
    state: str
    score: float
    interval: list[float]
    replicates: int


@dataclass(frozen=True)
class Verdict:
    """The answer to a question, as it is written to verdict.json.

    Scores are in the metric's own unit (``measure``). A difference of two is positive where the
    first one is better, whether or not a higher score is.
    """

    study: str
    metric: str
    measure: Measure
    recommended: Recommended
    score: float
    interval: list[float]
    mean_score: float
    seed_scores: list[float]
    beside: list[Beside]  # of the model that is taken home, by other metrics
    draw_scores: list[float]  # of the same plan on other draws of pool and report split
    best: PlanRow
    cheaper: PlanRow | None
    minus_best: Interval | None  # recommended minus best, report split; None where they are one
    shift: Interval | None  # report split minus held-out images, frozen plans; None without them
    shifted: bool  # whether that is beyond chance
    more_images: int | None  # labelled images that would show a cheaper plan to be as good
    margin: float
    plans: list[PlanRow]
    controls: dict[str, dict[str, Any]]
    majority: float
    curve: list[CurvePoint]
    contrasts: list[Contrast]
    helped: bool
    n_trials: int
    effort: dict[str, int]  # trials of each family of trained plans, the most tried first
    seconds: float
    sentence: str
    confidence: float
    replicates: int
    report_images: int
    pool_images: int
    folds: int
    shortfalls: list[str]  # what was to be measured and was not, and why
    shifts: list[ShiftedAnswer]  # on examples unlike the report split's
    smaller: list[Verdict]  # the answers with fewer labelled examples, the fewest first
    mixes: list[dict[str, Any]] = field(default_factory=list)  # heads on all cut points at once

    @property
    def sources(self) -> list[str]:
        """What the sources are called that were compared: that of the best plan first."""
        return [row.source for row, _ in self.best_of_each()]

    def best_of_each(self) -> list[tuple[PlanRow, float]]:
        """Of each source its best plan out of fold, and the chance that the best plan is its own.

        The source of the best plan comes first, then the others by their best plans' scores.
        """
        rows: dict[str, list[PlanRow]] = {}
        for row in self.plans:
            rows.setdefault(row.source, []).append(row)

        def merit(row: PlanRow) -> tuple[bool, bool, float]:
            own = row.overrides == self.best.overrides
            return own, row.candidate, self.measure.score(row.out_of_fold)

        found = [(max(own, key=merit), sum(row.p_best for row in own)) for own in rows.values()]
        return sorted(found, key=lambda one: merit(one[0]), reverse=True)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        measure, unit = self.measure, self.measure.unit
        told = {
            "words": measure.words,
            "unit": unit.after.strip(),
            "times": unit.times,
            "higher_is_better": measure.higher_is_better,
        }
        own = asdict(replace(self, smaller=[]))
        return {**own, "measure": told, "smaller": [one.as_json() for one in self.smaller]}

    def to_dataframe(self) -> pandas.DataFrame:
        """The plans that were compared, one a row, best out of fold first."""
        import pandas

        rows = [asdict(row) for row in self.plans]
        frame = pandas.DataFrame(rows)
        frame["report"] = [None if row.report is None else row.report.score for row in self.plans]
        frame["recommended"] = [o == self.recommended.overrides for o in frame["overrides"]]
        worst_first = not self.measure.higher_is_better
        return frame.sort_values("out_of_fold", ascending=worst_first, ignore_index=True)

    def _repr_html_(self) -> str:
        """What a notebook shows: the sentence, and the plans as a table."""
        of = ["source"] if len(self.sources) > 1 else []
        shown = [*of, "plan", "cut", "state", "out_of_fold", "p_best", "report", "recommended"]
        table = self.to_dataframe()[shown].to_html(float_format="{:.3f}".format, na_rep="")
        return f"<p><strong>{html.escape(self.sentence)}</strong></p>{table}"


def reach(
    study: str,
    recommendation: Recommendation,
    tried: Sequence[Tried],
    *,
    measure: Measure,
    margin: float,
    confidence: float,
    majority: float,
    pool_images: int,
    searched: Sequence[Facts],
    seconds: float,
    draws: Sequence[float] = (),
    beside: Sequence[Beside] = (),
    shortfalls: Sequence[str] = (),
    smaller: Sequence[Verdict] = (),
    mixes: Sequence[Mixed] = (),
    shifts: Sequence[ShiftedScores] = (),
) -> Verdict:
    """The verdict of a study.

    recommendation: made out of fold, before the report split was read; tried: the plans that it was
    made from, now with their report scores; measure: of the metric that scores are of; margin: what
    a cheaper plan may lose of a mean example score; majority: mean example score, on the report
    split, of always giving the answer that suits the pool best;
    pool_images: labelled images that choose and train, those that no fold holds out among them;
    searched: facts of the trained plans that were tried to find these; draws: scores of the
    recommended plan on other draws of the pool; beside: what other metrics say of its model;
    smaller: the verdicts of smaller pools; mixes: heads on all cut points at once; shifts: scores
    on examples unlike the report split's.
    Raises ValueError if the recommended plan or the best one has no report scores.
    """
    told = Told(measure, confidence)
    rows = {id(t.evidence): _row(t, recommendation, told) for t in tried}
    by_evidence = {id(t.evidence): t for t in tried}
    chosen = by_evidence[id(recommendation.recommended)]
    best = by_evidence[id(recommendation.best)]
    if chosen.report_rn is None or best.report_rn is None:
        raise ValueError("what is recommended and what is best are scored on the report split")
    report = {k: t.report_rn[0] for k, t in by_evidence.items() if t.report_rn is not None}
    more = _more_images(recommendation, chosen, pool_images)
    found, same = _contrasts(best, tried, told), chosen is best
    shift, quoted = report_less_held_out(tried), _scored(chosen.report_rn, told)
    blind, points = measure.value(majority), margin * measure.scale
    scored, best_row = Interval(quoted.score, *quoted.interval), rows[id(best.evidence)]
    said = sentence(
        measure=measure, recommended=chosen.facts, scored=scored,
        best=None if same else best_row, contrasts=found, majority=blind, margin=points,
        more_images=more, confidence=confidence,
        sources=len({t.facts.source for t in tried}),
    )  # fmt: skip
    return Verdict(
        study=study, metric=measure.name, measure=measure, recommended=Recommended.of(chosen),
        score=quoted.score, interval=quoted.interval, mean_score=quoted.mean,
        seed_scores=quoted.seeds, beside=list(beside), draw_scores=[*map(measure.value, draws)],
        best=best_row, cheaper=rows.get(id(recommendation.cheaper)),
        minus_best=None if same else told.difference(chosen.report_rn, best.report_rn),
        shift=shift and told.gain(shift), shifted=beyond_chance(shift), more_images=more,
        margin=points, plans=[*rows.values()], controls=_controls(chosen, tried, told),
        majority=blind, curve=_curve(tried, told), contrasts=found, helped=_helped(found),
        n_trials=len(searched), effort=dict(Counter(map(family_of, searched)).most_common()),
        seconds=seconds, sentence=said, confidence=confidence, replicates=len(chosen.report_rn),
        report_images=chosen.report_rn.shape[1], pool_images=pool_images,
        folds=len(chosen.evidence.folds), shortfalls=list(shortfalls),
        shifts=shifted_answers(shifts, told, report), smaller=list(smaller),
        mixes=[one.row(chosen.report_rn, told) for one in mixes],
    )  # fmt: skip


def _helped(contrasts: Sequence[Contrast]) -> bool:
    return bool(contrasts) and all(c.outcome == "effect" for c in contrasts)


def _more_images(recommendation: Recommendation, chosen: Tried, pool_images: int) -> int | None:
    """Labelled images that would show a cheaper plan to be as good.

    The rule counts held-out examples: with one holdout, more of the pool's are needed.
    """
    more = recommendation.more_images
    if more is None:
        return None
    held_out: int = chosen.evidence.scores_rn.shape[1]
    return math.ceil(more * pool_images / held_out)


def _contrasts(best: Tried, tried: Sequence[Tried], told: Told) -> list[Contrast]:
    """The best plan against each control that keeps nothing of the source.

    Among several sources that of its own, where there is one: another network is not that control.
    """
    plans = [t.evidence for t in tried]
    found = []
    for name in WITHOUT_SOURCE:
        named = [t for t in tried if name in t.controls]
        own = [t for t in named if t.facts.source == best.facts.source]
        for control in own or named:
            report = None
            if best.report_rn is not None and control.report_rn is not None:
                report = best.report_rn, control.report_rn
            if best.evidence.folds & control.evidence.folds:
                one = contrast(plans, best.evidence, control.evidence, report, told.confidence)
                found.append(_in_unit(replace(one, control=name), told.measure.scale))
    return found


def _in_unit(one: Contrast, scale: float) -> Contrast:
    numbers = {n: scale * getattr(one, n) for n in ("difference", "low", "high", "detectable")}
    return replace(one, **numbers)


def _scored(report_rn: Table, told: Told) -> Scored:
    first = told.model_score(report_rn[0])
    seeds = [told.measure.value(float(mean)) for mean in report_rn.mean(1)]
    return Scored(first.score, first.as_list(), float(np.mean(seeds)), seeds)


def _row(t: Tried, recommendation: Recommendation, told: Told) -> PlanRow:
    f, best = t.facts, recommendation.best
    ranked = next((r for r in recommendation.ranked if r.plan is t.evidence), None)
    less, interval = 0.0, [0.0, 0.0]
    if t.evidence is not best and t.evidence.folds & best.folds:
        comparison = ranked.comparison if ranked is not None else None
        comparison = comparison or compare(best, t.evidence)
        scale, ends = told.measure.scale, comparison.between(told.confidence)
        less, interval = scale * comparison.difference, [scale * end for end in ends]
    return PlanRow(
        source=f.source,
        plan=f.name,
        cut=f.keep_name,
        index=f.plan.keep,
        state=_state(f),
        overrides=list(t.overrides),
        controls=list(t.controls),
        candidate=not t.evidence.control,
        flops=f.flops,
        trained_parameters=f.trained_parameters,
        out_of_fold=told.measure.value(float(np.nanmean(t.evidence.score_n(t.evidence.folds)))),
        replicates=len(t.evidence.fold_r),
        less_than_best=less,
        interval=interval,
        p_best=0.0 if ranked is None else ranked.p_best,
        expected_loss=None if ranked is None else told.measure.scale * ranked.expected_loss,
        report=None if t.report_rn is None else _scored(t.report_rn, told),
        regions=f.regions,
    )


def _state(facts: Facts) -> str:
    """What is done with the blocks: random, fresh (some of them are), tuned or frozen."""
    if facts.plan.random_weights:
        return "random"
    return "fresh" if facts.is_regrown else facts.state


def _controls(recommended: Tried, tried: Sequence[Tried], told: Told) -> dict[str, dict[str, Any]]:
    """Each control by its name, the best first; of another source with that source's name."""
    assert recommended.report_rn is not None
    found: dict[str, dict[str, Any]] = {}
    for control in tried:
        if control.report_rn is None:
            continue
        own = told.score(control.report_rn)
        less = told.difference(recommended.report_rn, control.report_rn)
        mine = control.facts.source == recommended.facts.source or "raw_pixels" in control.controls
        for name in control.controls:
            found[name if mine else f"{name} of {control.facts.source}"] = {
                "source": control.facts.source,
                "score": own.score,
                "interval": own.as_list(),
                "recommended_minus_this": less.score,
                "difference_interval": less.as_list(),
                "keep_name": control.facts.keep_name,
                "random_weights": control.facts.plan.random_weights,
                "settled": control.settled,
            }
    return dict(sorted(found.items(), key=lambda item: -told.measure.score(item[1]["score"])))


def _curve(tried: Sequence[Tried], told: Told) -> list[CurvePoint]:
    """Every frozen cut point, and trained plans where they were scored on the report split too."""
    best: dict[tuple[int, str, int], Tried] = {}
    sources = list(dict.fromkeys(t.facts.source for t in tried))
    for t in tried:
        if t.report_rn is None or not _on_curve(t.facts):
            continue
        place = (sources.index(t.facts.source), t.facts.state, t.facts.plan.keep)
        # where several plans keep the same blocks, what held-out examples say counts
        if place not in best or _score(t) > _score(best[place]):
            best[place] = t
    return [_point(best[place], told) for place in sorted(best)]


def _score(t: Tried) -> float:
    return float(np.nanmean(t.evidence.scores_rn))


def _on_curve(facts: Facts) -> bool:
    plan = facts.plan
    if plan.random_weights or (not plan.kept and plan.regrow > 0):
        return False  # nothing of the source is in it
    if not plan.is_monotone:
        return False  # a cut point does not say what is done
    return facts.state == BlockState.TUNED or not facts.is_regrown


def _point(t: Tried, told: Told) -> CurvePoint:
    assert t.report_rn is not None
    own = told.score(t.report_rn)
    f = t.facts
    return CurvePoint(
        source=f.source,
        cut=f.keep_name,
        index=f.plan.keep,
        state=f.state,
        score=own.score,
        interval=own.as_list(),
        replicates=len(t.report_rn),
    )
