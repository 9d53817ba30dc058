"""A verdict is chosen on one split, scored on another, and says in words what its numbers say."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tlsweep.verdict import Confirmed, Verdict, accuracy_interval, difference_interval, reach

Make = Callable[..., Confirmed]


def verdict(
    confirmed: Sequence[Confirmed], searched: Sequence[Confirmed] = (), **options: Any
) -> Verdict:
    options = {"rule": "smallest_not_worse", "confidence": 0.95, **options}
    return reach("study", confirmed, searched, n_trials=22, seconds=1.5, **options)


@pytest.fixture
def plans(confirmed: Make) -> list[Confirmed]:
    """Half of the blocks are best; scratch and random features are far behind."""
    return [
        confirmed(0.60, 0.61, keep=1),
        confirmed(0.95, 0.94, keep=4),
        confirmed(0.96, 0.95, plan="finetune", keep=8, freeze=0, controls=("finetune",)),
        confirmed(0.85, 0.86, keep=8, controls=("feature_extractor",)),
        confirmed(0.70, 0.72, plan="scratch", keep=0, regrow=8, controls=("scratch",)),
        confirmed(
            0.50, 0.52, plan="random_features", keep=4, random=True,
            controls=("random_features",), candidate=False,
        ),
    ]  # fmt: skip


def test_the_choice_looks_at_the_select_split_only(plans: list[Confirmed]) -> None:
    upside_down = [replace(p, report_hits=~p.report_hits) for p in plans]
    first, second = verdict(plans), verdict(upside_down)
    assert first.recommended == second.recommended
    assert first.recommended.keep == 4
    assert second.score == pytest.approx(1 - first.score)


def test_the_score_is_the_recommended_plans_on_the_report_split(plans: list[Confirmed]) -> None:
    found = verdict(plans)
    own = accuracy_interval(plans[1].report_hits)
    assert found.score == own.score == 0.94
    assert found.interval == own.as_list()
    assert (found.report_images, found.select_images, found.replicates) == (200, 100, 3)


def test_the_rule_is_handed_on(plans: list[Confirmed]) -> None:
    assert verdict(plans, rule="best").recommended.plan == "finetune"


def test_what_is_no_candidate_is_never_recommended(confirmed: Make) -> None:
    control = confirmed(0.99, 0.99, keep=1, random=True, controls=("random_features",),
                        candidate=False)  # fmt: skip
    assert verdict([control, confirmed(0.5, 0.5, keep=3)]).recommended.keep == 3
    with pytest.raises(ValueError, match="no candidate"):
        verdict([control])


def test_controls_stand_beside_the_recommended_plan_on_the_same_images(
    plans: list[Confirmed],
) -> None:
    found = verdict(plans)
    assert set(found.controls) == {"scratch", "random_features", "feature_extractor", "finetune"}
    less = difference_interval(plans[1].report_hits, plans[4].report_hits)
    own = accuracy_interval(plans[4].report_hits)
    assert found.controls["scratch"] == {
        "score": 0.72,
        "interval": own.as_list(),
        "recommended_minus_this": pytest.approx(0.22),
        "difference_interval": less.as_list(),
        "keep_name": "block0",
        "random_weights": False,
    }
    assert found.controls["finetune"]["recommended_minus_this"] == pytest.approx(-0.01)


# ------------------------------------------------------------------ in words
def test_where_transfer_helped_the_sentence_says_by_how_much(plans: list[Confirmed]) -> None:
    found = verdict(plans)
    low, high = (f"{100 * x:.1f}" for x in found.interval)
    assert found.helped
    assert found.sentence == (
        f"Keeping 4 of 8 blocks (up to block4), frozen, scores 94.0 %"
        f" (95 % interval {low} % to {high} %)."
        " Transfer helped: 22.0 points above scratch, 42.0 points above random features."
    )


def test_where_a_control_may_do_as_well_the_sentence_names_it(plans: list[Confirmed]) -> None:
    plans[4] = replace(plans[4], report_hits=plans[1].report_hits)
    found = verdict(plans)
    assert not found.helped
    assert found.sentence.endswith(
        "But it is not shown that transfer helped: scratch may do as well."
    )


def test_where_random_weights_do_best_elsewhere_the_sentence_says_where(
    plans: list[Confirmed],
) -> None:
    plans[5] = replace(plans[5], facts={**plans[5].facts, "keep_name": "block2", "keep": 2})
    assert verdict(plans).sentence.endswith("42.0 points above random features (up to block2).")


@pytest.mark.parametrize(
    ("select", "why"),
    [
        (
            0.91,
            "sweep.confirm.rule=smallest_not_worse gives up accuracy for a smaller prefix, as far"
            " as 100 select images cannot tell; best would recommend keeping 8 blocks.",
        ),
        (0.89, "on the 100 select images nothing looked better than what is recommended."),
    ],
)
def test_where_a_control_is_better_on_the_report_split_the_sentence_says_so(
    confirmed: Make, select: float, why: str
) -> None:
    plans = [
        confirmed(0.90, 0.70, keep=4),
        confirmed(select, 0.90, keep=8, controls=("feature_extractor",)),
        confirmed(0.60, 0.61, plan="scratch", keep=0, regrow=8, controls=("scratch",)),
    ]
    found = verdict(plans)
    assert found.recommended.keep == 4
    assert found.sentence.endswith(f" Feature extractor scores 20.0 points more: {why}")
    assert verdict(plans, rule="best").recommended.keep == (8 if select > 0.90 else 4)
    near = replace(plans[1], report_hits=plans[0].report_hits)
    assert "points more" not in verdict([plans[0], near, plans[2]]).sentence


def test_where_nothing_is_worth_keeping_the_sentence_says_so(confirmed: Make) -> None:
    scratch = confirmed(0.95, 0.94, plan="scratch", keep=0, regrow=8, controls=("scratch",))
    found = verdict([scratch, confirmed(0.60, 0.61, keep=4)])
    assert not found.helped
    assert found.sentence.startswith(
        "Transfer did not help: keep nothing of the source. The architecture trained from scratch"
        " scores 94.0 % (95 % interval "
    )


def test_a_head_on_the_raw_input_is_called_that(confirmed: Make) -> None:
    found = verdict([confirmed(0.95, 0.94, keep=0, regrow=0)])
    assert "A head on the raw input scores 94.0 %" in found.sentence


def test_without_controls_it_is_not_claimed_that_transfer_helped(confirmed: Make) -> None:
    found = verdict([confirmed(0.95, 0.94, keep=4)])
    assert not found.helped
    assert found.controls == {}
    assert found.sentence.endswith(
        "But it is not shown that transfer helped: no control was measured."
    )


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"keep": 8}, "Keeping all 8 blocks, frozen, scores"),
        ({"keep": 8, "freeze": 0}, "Keeping all 8 blocks, tuned, scores"),
        ({"keep": 5, "freeze": 2}, "Keeping 5 of 8 blocks (up to block5), the first 2 frozen,"),
        ({"keep": 5, "regrow": 8}, "(up to block5), frozen, 3 fresh blocks above, scores"),
    ],
)
def test_the_sentence_says_what_becomes_of_the_blocks(
    confirmed: Make, plan: dict[str, int], words: str
) -> None:
    assert words in verdict([confirmed(0.9, 0.9, **plan)]).sentence


@pytest.mark.parametrize(("confidence", "words"), [(0.95, "(95 % "), (0.999, "(99.9 % ")])
def test_the_sentence_names_the_confidence(confirmed: Make, confidence: float, words: str) -> None:
    assert words in verdict([confirmed(0.9, 0.9, keep=3)], confidence=confidence).sentence


# ------------------------------------------------------------------ the curve
def test_a_point_with_replicates_stands_for_its_cut_before_one_that_was_only_searched(
    confirmed: Make,
) -> None:
    searched = confirmed(1.0, None, keep=4, replicates=1)
    (point,) = verdict([confirmed(0.8, 0.7, keep=4)], [searched]).curve
    assert (point.score, point.split, point.replicates) == (0.7, "report", 3)


def test_a_cut_that_was_only_searched_is_shown_with_its_select_score(confirmed: Make) -> None:
    curve = verdict([confirmed(0.8, 0.7, keep=4)], [confirmed(0.6, None, keep=2, replicates=1)])
    first, _ = curve.curve
    assert (first.index, first.cut, first.score) == (2, "block2", 0.6)
    assert (first.split, first.replicates) == ("select", 1)
    assert first.interval == accuracy_interval(np.arange(100) < 60).as_list()


def test_of_two_plans_at_one_cut_the_select_split_says_which_is_shown(confirmed: Make) -> None:
    tuned = {"keep": 4, "freeze": 0}
    a = confirmed(0.9, 0.5, plan="truncate_tuned", **tuned)
    b = confirmed(0.8, 0.6, plan="transfer_tuned", regrow=8, **tuned)
    for order in ([a, b], [b, a]):
        assert [p.score for p in verdict(order).curve] == [0.5]


def test_random_features_and_scratch_are_not_on_the_curve(plans: list[Confirmed]) -> None:
    found = verdict(plans)
    assert [(p.state, p.index) for p in found.curve] == [
        ("frozen", 1),
        ("frozen", 4),
        ("frozen", 8),
        ("tuned", 8),
    ]


def test_a_frozen_prefix_with_fresh_blocks_above_is_not_on_the_frozen_curve(
    confirmed: Make,
) -> None:
    assert verdict([confirmed(0.9, 0.9, plan="transfer", keep=4, regrow=8)]).curve == []


def test_a_verdict_is_plain_json(plans: list[Confirmed]) -> None:
    found = verdict(plans, [replace(plans[0], facts={**plans[0].facts, "keep": 2})])
    again = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert again == found.as_json()
    assert set(again) >= {"recommended", "score", "interval", "controls", "curve", "sentence"}
