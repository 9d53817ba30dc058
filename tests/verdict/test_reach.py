"""A verdict is chosen out of fold, scored on the report split, and holds what its plans scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tlsweep.facts import Facts
from tlsweep.task import Classes, Numbers
from tlsweep.verdict import (
    Comparison,
    Ranked,
    Recommendation,
    Tried,
    Verdict,
    accuracy_interval,
    difference_interval,
    model_interval,
    reach,
)

Make = Callable[..., Tried]


ERROR = 0.02 / 1.959964  # of a difference with an interval of two points to both sides


def chosen(tried: Sequence[Tried], best: int, cheaper: int | None = None) -> Recommendation:
    ranked = tuple(
        Ranked(
            t.evidence,
            0.9,
            None if i == best else Comparison(0.01 * i, ERROR, 1e9, 5, 100),
            0.5 / (1 + i),
            0.001 * i,
        )
        for i, t in enumerate(tried)
        if not t.evidence.control
    )
    lower = None if cheaper is None else tried[cheaper].evidence
    return Recommendation(tried[best].evidence, lower, ranked, more_images=None)


def score(t: Tried) -> float:
    return float(np.nanmean(t.evidence.scores_rn))


def verdict(
    tried: Sequence[Tried], best: int = 0, cheaper: int | None = None, **options: Any
) -> Verdict:
    usual = {
        "measure": Classes(10).measure, "margin": 0.02, "confidence": 0.95, "majority": 0.11,
        "searched": (), "seconds": 1.5,
        "pool_images": tried[0].evidence.scores_rn.shape[1],
    }  # fmt: skip
    return reach("study", chosen(tried, best, cheaper), tried, **{**usual, **options})


@pytest.fixture
def plans(plan: Make) -> list[Tried]:
    """Half of the blocks are best; scratch and random features are far behind."""
    return [
        plan(0.95, 0.94, keep=4),
        plan(0.60, [0.61], keep=1),
        plan(0.90, [0.95, 0.93, 0.91], name="finetune", keep=8, freeze=0, controls=("finetune",)),
        plan(0.85, [0.86], keep=8, controls=("feature_extractor",)),
        plan(0.70, 0.72, name="scratch", keep=0, regrow=8, controls=("scratch",),
             candidate=False, settled=False),
        plan(0.50, 0.52, name="random_features", keep=4, random=True,
             controls=("random_features",), candidate=False),
        plan(0.40, [0.42], keep=0, controls=("raw_pixels",), candidate=False),
        plan(0.80, None, name="truncate_tuned", keep=3, freeze=0),
    ]  # fmt: skip


# ------------------------------------------------------------------ recommended and best
def test_the_score_is_that_of_the_model_taken_home_and_the_mean_is_over_its_seeds(
    plans: list[Tried],
) -> None:
    found = verdict(plans, best=2)
    first = model_interval(plans[2].report_rn[0] > 0)  # type: ignore[index]
    assert (found.score, found.interval) == (0.95, first.as_list())
    assert found.mean_score == pytest.approx(0.93)
    assert found.seed_scores == pytest.approx([0.95, 0.93, 0.91])
    assert (found.replicates, found.report_images) == (3, 200)
    assert (found.pool_images, found.folds) == (100, 5)


def test_where_the_best_plan_is_recommended_there_is_no_difference_to_tell(
    plans: list[Tried],
) -> None:
    found = verdict(plans, best=0)
    assert found.recommended.keep_name == found.best.cut == "block4"
    assert found.recommended.overrides == list(plans[0].overrides)
    assert found.cheaper is None
    assert found.minus_best is None


def test_a_cheaper_plan_that_is_as_good_is_recommended_with_its_difference_on_the_report_split(
    plans: list[Tried],
) -> None:
    found = verdict(plans, best=2, cheaper=0)
    assert found.recommended.keep == 4
    assert found.best.plan == "finetune"
    assert found.cheaper is not None
    assert found.cheaper.cut == "block4"
    wanted = difference_interval(plans[0].report_rn, plans[2].report_rn)  # type: ignore[arg-type]
    assert found.minus_best == wanted
    assert found.score == 0.94


def test_the_report_split_changes_no_choice(plans: list[Tried]) -> None:
    upside_down = [
        replace(p, report_rn=None if p.report_rn is None else 1 - p.report_rn) for p in plans
    ]
    first, second = verdict(plans), verdict(upside_down)
    assert first.recommended == second.recommended
    assert second.score == pytest.approx(1 - first.score)


def test_without_report_scores_of_what_is_chosen_there_is_no_verdict(plans: list[Tried]) -> None:
    for best, cheaper in ((7, None), (0, 7)):
        with pytest.raises(ValueError, match="scored on the report split"):
            verdict(plans, best, cheaper)


# ------------------------------------------------------------------ the table of plans
def test_every_plan_has_a_row_with_its_standing(plans: list[Tried]) -> None:
    rows = verdict(plans).plans
    assert [row.overrides for row in rows] == [list(p.overrides) for p in plans]
    assert [row.out_of_fold for row in rows] == pytest.approx([score(p) for p in plans])
    apart = [row.less_than_best for row in rows]
    assert [apart[i] for i in (0, 1, 2, 3, 7)] == pytest.approx([0, 0.01, 0.02, 0.03, 0.07])
    # of controls, which are not ranked, as the two are compared
    assert apart[4] == pytest.approx(score(plans[0]) - score(plans[4]))
    assert rows[3].interval == pytest.approx([0.01, 0.05])
    assert (rows[1].p_best, rows[1].expected_loss) == (0.25, 0.001)
    assert [row.state for row in rows] == [
        "frozen", "frozen", "tuned", "frozen", "fresh", "random", "frozen", "tuned",
    ]  # fmt: skip
    assert [row.candidate for row in rows] == [not p.evidence.control for p in plans]
    assert [row.expected_loss is None for row in rows] == [p.evidence.control for p in plans]
    assert all(row.replicates == 5 for row in rows)
    assert rows[7].report is None
    assert rows[2].report is not None
    assert rows[2].report.seeds == pytest.approx([0.95, 0.93, 0.91])


def test_every_interval_has_the_confidence_that_was_asked_for(plans: list[Tried]) -> None:
    found = verdict(plans, confidence=0.8)
    own = model_interval(plans[2].report_rn[0] > 0, 0.8)  # type: ignore[index]
    assert found.plans[2].report is not None
    assert found.plans[2].report.interval == own.as_list()
    first = model_interval(plans[0].report_rn[0] > 0, 0.8)  # type: ignore[index]
    assert found.interval == first.as_list()
    narrow, wide = (verdict(plans, confidence=c).curve for c in (0.8, 0.99))
    for a, b in zip(narrow, wide, strict=True):
        assert a.interval[1] - a.interval[0] < b.interval[1] - b.interval[0]


# ------------------------------------------------------------------ controls
def test_controls_stand_beside_the_recommended_plan_on_the_same_images(
    plans: list[Tried],
) -> None:
    found = verdict(plans)
    assert list(found.controls) == [  # the best first
        "finetune", "feature_extractor", "scratch", "random_features", "raw_pixels",
    ]  # fmt: skip
    report, scratch = plans[0].report_rn, plans[4].report_rn
    assert report is not None
    assert scratch is not None
    assert found.controls["scratch"] == {
        "source": "net",
        "score": pytest.approx(0.72),
        "interval": accuracy_interval(scratch).as_list(),
        "recommended_minus_this": pytest.approx(0.22),
        "difference_interval": difference_interval(report, scratch).as_list(),
        "keep_name": "block0",
        "random_weights": False,
        "settled": False,
    }
    assert found.controls["finetune"]["recommended_minus_this"] == pytest.approx(0.01)


def test_a_plan_that_answers_to_two_names_is_both_controls(plan: Make) -> None:
    both = plan(0.9, 0.9, keep=8, freeze=0, controls=("finetune", "feature_extractor"))
    controls = verdict([both]).controls
    assert controls["finetune"] == controls["feature_extractor"]


def test_transfer_helped_where_the_best_plan_is_far_above_scratch_and_random_weights(
    plans: list[Tried],
) -> None:
    found = verdict(plans)
    assert found.helped
    assert [c.control for c in found.contrasts] == ["scratch", "random_features", "raw_pixels"]
    assert all(c.low > 0 for c in found.contrasts)
    alike = plans[0].evidence.scores_rn
    equal = [
        replace(p, report_rn=plans[0].report_rn, evidence=replace(p.evidence, scores_rn=alike))
        for p in plans
    ]
    assert not verdict(equal).helped


def test_without_controls_it_is_not_claimed_that_transfer_helped(plan: Make) -> None:
    found = verdict([plan(0.95, 0.94, keep=4)])
    assert not found.helped
    assert found.controls == {}
    assert found.contrasts == []


# ------------------------------------------------------------------ the curve
def test_the_curve_is_every_plan_with_something_of_the_source_and_a_report_score(
    plans: list[Tried],
) -> None:
    curve = verdict(plans).curve
    assert [(p.state, p.index, p.cut) for p in curve] == [
        ("frozen", 0, "block0"),  # a head on the raw input
        ("frozen", 1, "block1"),
        ("frozen", 4, "block4"),
        ("frozen", 8, "block8"),
        ("tuned", 8, "block8"),
    ]
    assert [p.score for p in curve] == pytest.approx([0.42, 0.61, 0.94, 0.86, 0.93])
    assert [p.replicates for p in curve] == [1, 1, 3, 1, 3]
    assert curve[1].interval == accuracy_interval(plans[1].report_rn).as_list()  # type: ignore[arg-type]


def test_of_two_plans_at_one_cut_held_out_examples_say_which_is_shown(plan: Make) -> None:
    tuned = {"keep": 4, "freeze": 0}
    a = plan(0.9, 0.5, name="truncate_tuned", **tuned)
    b = plan(0.8, 0.6, name="transfer_tuned", regrow=8, **tuned)
    for order in ([a, b], [b, a]):
        assert [p.score for p in verdict(order).curve] == [0.5]


def test_a_frozen_prefix_with_fresh_blocks_above_is_not_on_the_frozen_curve(plan: Make) -> None:
    assert verdict([plan(0.9, 0.9, name="transfer", keep=4, regrow=8)]).curve == []


# ------------------------------------------------------------------ as it is written
def test_a_verdict_is_plain_json(plans: list[Tried]) -> None:
    found = verdict(plans, best=2, cheaper=0, shortfalls=["scratch: no plan of it was tried"])
    again = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert again == found.as_json()
    assert set(again) >= {"recommended", "score", "interval", "controls", "curve", "sentence"}
    assert again["shortfalls"] == ["scratch: no plan of it was tried"]
    assert again["best"]["plan"] == "finetune"
    assert (again["majority"], again["margin"]) == (0.11, 0.02)


def test_the_sentence_is_of_the_recommended_plan(plans: list[Tried]) -> None:
    assert "4 of 8 blocks (up to block4), frozen: 94.0 %" in verdict(plans).sentence
    assert "all 8 blocks, and train them: 95.0 %" in verdict(plans, best=2).sentence
    assert np.isfinite(verdict(plans).seconds)


def test_the_verdict_says_how_many_trials_each_family_of_plans_got(
    plans: list[Tried], facts: Callable[..., Facts]
) -> None:
    searched = [
        facts("scratch", keep=0, regrow=8, freeze=0),
        facts("scratch", keep=0, regrow=8, freeze=0),
        facts("finetune", keep=8, freeze=0),
        facts("truncate_tuned", keep=5, freeze=0),
        facts("truncate_tuned", keep=5, freeze=3),
        facts("transfer_tuned", keep=5, freeze=0, regrow=8),
        facts("surgical", shape="FTTFFFFF"),
        facts("adapters", shape="FFFFFFAA"),
        facts("finetune", shape="TTDTTTTT"),
    ]
    found = verdict(plans, searched=searched)
    assert found.n_trials == 9
    assert found.effort == {
        "scratch": 2, "all blocks": 1, "all kept blocks": 1, "last kept blocks": 1,
        "new blocks above kept ones": 1, "one region": 1, "low-rank additions": 1,
        "blocks left out": 1,
    }  # fmt: skip
    assert next(iter(found.effort)) == "scratch"


# ------------------------------------------------------------------ metrics of another kind
def test_errors_are_told_in_their_unit_and_the_lower_one_is_better(plans: list[Tried]) -> None:
    """Example scores are minus errors in spreads of 10 mm: from -0.5 to 0, wrong ones larger."""
    rng = np.random.default_rng(0)

    def errors(table: Any) -> Any:
        return None if table is None else (table - 1) * rng.uniform(0.5, 1.5, table.shape)

    measure = Numbers(1, spread=10.0, unit="mm").measure
    tried = [
        replace(
            p, report_rn=errors(p.report_rn),
            evidence=replace(p.evidence, scores_rn=errors(p.evidence.scores_rn)),
        )
        for p in plans
    ]  # fmt: skip
    found = verdict(tried, measure=measure, majority=-0.8)
    assert found.score == pytest.approx(-10 * tried[0].report_rn[0].mean())  # type: ignore[index]
    low, high = found.interval
    assert 0 < low < found.score < high
    assert (found.majority, found.margin) == (8.0, pytest.approx(0.2))
    assert list(found.controls) == [
        "finetune", "feature_extractor", "scratch", "random_features", "raw_pixels",
    ]  # fmt: skip
    assert found.controls["raw_pixels"]["score"] > found.controls["scratch"]["score"] > found.score
    assert all(c["recommended_minus_this"] > 0 for n, c in found.controls.items() if "f" not in n)
    assert all(c.outcome == "effect" and c.low > 0 for c in found.contrasts)
    assert found.helped
    first = found.to_dataframe().iloc[0]
    assert first["out_of_fold"] == min(row.out_of_fold for row in found.plans)
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert told["metric"] == "mae"
    assert told["measure"] == {
        "words": "mean absolute error", "unit": "mm", "times": 1.0, "higher_is_better": False,
    }  # fmt: skip


# ------------------------------------------------------------------ several sources
def of(source: str, t: Tried) -> Tried:
    own = (f"source.model={source}", *t.overrides)
    return replace(t, facts=replace(t.facts, source=source), overrides=own)


@pytest.fixture
def two(plan: Make) -> list[Tried]:
    """The second of two sources has the best plan; the first one's scratch is better."""
    scratch = {"name": "scratch", "keep": 0, "regrow": 8, "controls": ("scratch",)}
    every = {"keep": 8, "controls": ("feature_extractor",)}
    return [
        of("one", plan(0.90, 0.90, keep=4)),
        of("one", plan(0.80, 0.80, candidate=False, **scratch)),
        of("one", plan(0.85, [0.86], **every)),
        of("one", plan(0.40, [0.42], keep=0, controls=("raw_pixels",), candidate=False)),
        of("two", plan(0.95, 0.94, keep=4)),
        of("two", plan(0.70, 0.72, candidate=False, **scratch)),
    ]


def test_of_several_sources_the_sentence_says_which_and_transfer_is_told_by_its_own_controls(
    two: list[Tried],
) -> None:
    found = verdict(two, best=4)
    assert found.recommended.source == found.best.source == "two"
    assert found.sentence.startswith("Of 2 sources, take two. Keep 4 of 8 blocks (up to block4)")
    scratch, raw = found.contrasts
    assert scratch.control == "scratch"
    assert scratch.difference > 0.2  # the other one's is 0.14 behind
    assert raw.control == "raw_pixels"  # which is no source's


def test_a_control_of_another_source_is_told_with_that_sources_name(two: list[Tried]) -> None:
    controls = verdict(two, best=4).controls
    assert list(controls) == [
        "feature_extractor of one", "scratch of one", "scratch", "raw_pixels",
    ]  # fmt: skip
    assert controls["scratch"]["source"] == "two"
    assert controls["scratch of one"]["recommended_minus_this"] == pytest.approx(0.14)


def test_each_source_has_its_best_plan_and_the_chance_that_the_best_of_all_is_its_own(
    two: list[Tried],
) -> None:
    found = verdict(two, best=4)
    assert found.sources == ["two", "one"]
    (best, _), (other, chance) = found.best_of_each()
    assert (best.cut, best.out_of_fold) == ("block4", pytest.approx(0.95))
    assert (other.cut, other.out_of_fold) == ("block4", pytest.approx(0.90))
    assert chance == pytest.approx(sum(row.p_best for row in found.plans if row.source == "one"))


def test_each_source_has_a_curve_of_its_own(two: list[Tried]) -> None:
    found = [(p.source, p.index) for p in verdict(two, best=4).curve]
    assert found == [("one", 0), ("one", 4), ("one", 8), ("two", 4)]
