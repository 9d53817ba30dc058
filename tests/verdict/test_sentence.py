"""The sentence says in plain words what the numbers say, and no more."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tlsweep.facts import Facts
from tlsweep.task import Classes, Numbers
from tlsweep.verdict import Contrast, Interval
from tlsweep.verdict.contrast import outcome_of
from tlsweep.verdict.sentence import sentence

MakeFacts = Callable[..., Facts]
SCORED = Interval(0.94, 0.90, 0.965)


def contrast(control: str, difference: float, half: float, detectable: float = 0.04) -> Contrast:
    low, high = difference - half, difference + half
    return Contrast(control, difference, low, high, detectable, outcome_of(low, high, detectable))


@pytest.fixture
def said(facts: MakeFacts) -> Callable[..., str]:
    def say(**given: Any) -> str:
        plan = given.pop("plan", {"keep": 4})
        usual = {
            "measure": Classes(10).measure, "recommended": facts(**plan), "scored": SCORED,
            "best": None, "contrasts": [],
            "majority": 0.2, "margin": 0.02, "more_images": None,
            "confidence": 0.95,
        }  # fmt: skip
        return sentence(**{**usual, **given})

    return say


Said = Callable[..., str]
HELPED = [contrast("scratch", 0.22, 0.07), contrast("random_features", 0.42, 0.07)]


def test_where_the_best_plan_is_recommended_and_transfer_helped(said: Said) -> None:
    assert said(contrasts=HELPED) == (
        "Keep 4 of 8 blocks (up to block4), frozen: 94.0 % of new images are classified rightly"
        " (95 % interval 90.0 % to 96.5 %)."
        " Transfer helped: 22.0 points above training from scratch, 42.0 points above random"
        " weights."
    )


def test_of_several_sources_the_best_plan_is_told_with_its_own(said: Said) -> None:
    best = SimpleNamespace(
        source="vgg11",
        overrides=["source.model=vgg11", "plan=finetune", "plan.keep=all", "train.lr=0.1"],
        flops=80_000,
    )
    text = said(best=best, sources=3)
    assert text.startswith("Of 3 sources, take net. Keep 4 of 8 blocks (up to block4), frozen: ")
    assert "The best plan (plan=finetune plan.keep=all, of vgg11) is at most 2 points" in text


def test_where_a_cheaper_plan_is_recommended_it_names_the_best_one_and_the_price(
    said: Said,
) -> None:
    best = SimpleNamespace(
        overrides=["plan=finetune", "plan.keep=block8", "train.lr=0.1"], flops=80_000
    )
    assert said(best=best, contrasts=HELPED).split(". ")[1] == (
        "The best plan (plan=finetune plan.keep=block8) is at most 2 points better; this one takes"
        " 50 % of the computation"
    )
    as_large = SimpleNamespace(overrides=["plan=finetune"], flops=40_000)
    assert "this one takes less training." in said(best=as_large, margin=0.005)
    assert "at most 0.5 points better" in said(best=as_large, margin=0.005)


def test_where_transfer_is_not_shown_to_help_it_says_what_would_have_been_shown(
    said: Said,
) -> None:
    unclear = [contrast("scratch", 0.02, 0.05, 0.061), HELPED[1]]
    assert said(contrasts=unclear).endswith(
        " It is not shown that transfer helped against training from scratch (+2.0 points,"
        " -3.0 to +7.0; this study would have shown 6.1)."
    )
    neither = [unclear[0], contrast("raw_pixels", 0.01, 0.1)]
    assert said(contrasts=neither).endswith(
        "this study would have shown 6.1) and the raw pixels (+1.0 points, -9.0 to +11.0;"
        " this study would have shown 4.0)."
    )


def test_where_a_control_is_better_it_says_that_transfer_does_not_help_and_by_how_much(
    said: Said,
) -> None:
    hurts = [contrast("scratch", -0.05, 0.04), HELPED[1]]
    assert said(contrasts=hurts).endswith(
        " Transfer does not help here: training from scratch scores 5.0 points more."
    )
    both = [hurts[0], contrast("random_features", -0.02, 0.01)]
    assert said(contrasts=both).endswith(
        "training from scratch scores 5.0 points more and random weights scores 2.0 points more."
    )


def test_without_a_control_that_was_scored_it_says_that_it_was_not_measured(said: Said) -> None:
    assert said(contrasts=[]).endswith(" Whether transfer helped was not measured.")


def test_where_more_images_would_tell_it_says_how_many(said: Said) -> None:
    text = said(more_images=1200, contrasts=HELPED)
    assert "About 1,200 labelled images would show whether a cheaper plan is as good." in text


def test_a_score_that_is_not_above_the_most_frequent_class_is_said_first(said: Said) -> None:
    text = said(majority=0.91, contrasts=HELPED)
    assert text.startswith(
        "Nothing was shown to be better than always naming the most frequent class (91.0 %)."
        " Keep 4 of 8 blocks"
    )
    assert "most frequent" not in said(majority=0.89)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"keep": 8}, "Keep all 8 blocks, frozen: 94.0 %"),
        ({"keep": 8, "freeze": 0}, "Keep all 8 blocks, and train them: 94.0 %"),
        (
            {"keep": 5, "freeze": 2},
            "Keep 5 of 8 blocks (up to block5), the first 2 frozen, the others trained: 94.0 %",
        ),
        (
            {"keep": 5, "regrow": 8},
            "Keep 5 of 8 blocks (up to block5), frozen, with 3 new blocks above: 94.0 %",
        ),
        (
            {"shape": "FTTFFFFF"},
            "Keep all 8 blocks, frozen but for block2 to block3, trained: 94.0 %",
        ),
        (
            {"shape": "TFTFFDDD"},
            "Keep 5 of 8 blocks (up to block5), frozen but for block1 and block3, trained: 94.0 %",
        ),
        (
            {"shape": "AAAAAAAA", "rank": 4},
            "Keep all 8 blocks, frozen, with trained additions of rank 4 to their weights: 94.0 %",
        ),
        (
            {"shape": "FFAAFATT", "rank": 4},
            "Keep all 8 blocks, frozen but for block7 to block8, trained, with trained additions"
            " of rank 4 to block3 to block4 and block6: 94.0 %",
        ),
        (
            {"shape": "TTDTDDTT"},
            "Keep 5 of 8 blocks (without block3 and block5 to block6), and train them: 94.0 %",
        ),
        (
            {"shape": "FFDFDDNN"},
            "Keep 3 of 8 blocks (up to block4, without block3 and block5 to block6), frozen, with"
            " 2 new blocks above: 94.0 %",
        ),
        (
            {"shape": "FFDTTTDD"},
            "Keep 5 of 8 blocks (up to block6, without block3), frozen but for block4 to block6,"
            " trained: 94.0 %",
        ),
    ],
)
def test_it_says_what_becomes_of_the_blocks(said: Said, plan: dict[str, Any], words: str) -> None:
    assert said(plan=plan).startswith(words)


@pytest.mark.parametrize(("confidence", "words"), [(0.95, "(95 % i"), (0.999, "(99.9 % i")])
def test_it_names_the_confidence(said: Said, confidence: float, words: str) -> None:
    assert words in said(confidence=confidence)


# ------------------------------------------------------------------ metrics of another kind
DEGREES = Numbers(1, spread=12.0, unit="degrees").measure


def test_numbers_are_told_in_their_own_unit_and_less_is_better(said: Said) -> None:
    scored = Interval(2.31, 2.04, 2.63)
    helped = [contrast("scratch", 0.52, 0.3), contrast("raw_pixels", 6.0, 0.7)]
    told = {"measure": DEGREES, "scored": scored, "majority": 9.8}
    assert said(**told, contrasts=helped) == (
        "Keep 4 of 8 blocks (up to block4), frozen: on new images its mean absolute error is"
        " 2.3 degrees (95 % interval 2.0 degrees to 2.6 degrees). Transfer helped: 0.5 degrees less"
        " than training from scratch, 6.0 degrees less than the raw pixels."
    )
    harm = [contrast("scratch", -1.5, 0.4)]
    assert "training from scratch scores 1.5 degrees less" in said(**told, contrasts=harm)
    unclear = [contrast("scratch", 0.2, 0.5, detectable=0.7)]
    assert said(**told, contrasts=unclear).endswith(
        "against training from scratch (-0.2 degrees, -0.7 to +0.3; this study would have shown"
        " 0.7)."
    )
    best = SimpleNamespace(overrides=["plan=finetune"], flops=80_000)
    assert "at most 0.24 degrees better" in said(**told, best=best, margin=0.02 * 12)


def test_an_error_that_is_no_lower_than_that_of_the_mean_is_said_first(said: Said) -> None:
    told = said(measure=DEGREES, scored=Interval(9.5, 9.0, 10.1), majority=9.8)
    assert told.startswith(
        "Nothing was shown to be better than always naming the mean (9.8 degrees)."
    )
