"""Whether transfer helped is said of fixed contrasts, and a blind study says that it is blind."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tlsweep.verdict import Evidence, contrast
from tlsweep.verdict.contrast import half_width, may_be
from tlsweep.verdict.evidence import LUCK_OF_LABELS, SeedVariance
from tlsweep.verdict.rule import drawn_in

Make = Callable[..., Evidence]
SEEDED: dict[str, Any] = {"kind": "fresh", "deterministic": False, "control": True}


def rows(rng: np.random.Generator, share: float, n: int, replicates: int = 1) -> np.ndarray:
    return (rng.random((replicates, n)) < share).astype(float)


def test_a_clear_difference_is_an_effect_and_turned_round_it_is_harm(evidence: Make) -> None:
    rng = np.random.default_rng(0)
    best, control = evidence("best", rows(rng, 0.95, 300)[0]), rows(rng, 0.6, 300)[0]
    report = rows(rng, 0.95, 200), rows(rng, 0.6, 200, 3)
    scratch = evidence("scratch", control, **SEEDED)
    found = contrast([best, scratch], best, scratch, report)
    assert found.outcome == "effect"
    assert found.difference == pytest.approx(0.35, abs=0.06)
    poor = evidence("poor", control)
    good = evidence("pixels", best.score_n(best.folds), control=True)
    assert contrast([poor, good], poor, good, report[::-1]).outcome == "harm"


def test_a_missing_effect_and_a_blind_study_are_told_apart(evidence: Make) -> None:
    rng = np.random.default_rng(1)
    outcomes = {}
    for n in (60, 6000):
        best, control = evidence("best", rows(rng, 0.8, n)[0]), rows(rng, 0.8, n)[0]
        pixels = evidence("pixels", control, control=True)
        outcomes[n] = contrast([best, pixels], best, pixels, (rows(rng, 0.8, n), rows(rng, 0.8, n)))
    assert outcomes[60].outcome == "blind"
    assert outcomes[6000].outcome == "none shown"
    assert outcomes[60].detectable > 5 * outcomes[6000].detectable


def test_both_kinds_of_examples_count_by_their_precision(evidence: Make) -> None:
    n, m = 100, 50
    a, b = np.ones(n), np.arange(n) >= 20
    best, pixels = evidence("best", a), evidence("pixels", b, control=True)
    first, second = np.ones((1, m)), (np.arange(m) >= 15)[None].astype(float)
    found = contrast([best, pixels], best, pixels, (first, second))
    pool = 2.25 * np.var(a - b, ddof=1) / n
    of_images = np.var(first - second, ddof=1) / m
    variance = 1 / (1 / pool + 1 / of_images)
    assert found.difference == pytest.approx(variance * (0.2 / pool + 0.3 / of_images))
    weights = np.array([variance / pool, variance / of_images])
    uncertain = (weights**2 * [pool, of_images]) ** 2 / [n - 1, m - 1]
    # another draw of the labels would have moved both plans, in pool and report alike
    variance += LUCK_OF_LABELS * (0.0 + 0.7 * 0.3) / n
    tail = stats.t.ppf(0.975, variance**2 / uncertain.sum())
    assert found.high - found.difference == pytest.approx(tail * math.sqrt(variance))
    power = stats.norm.ppf(0.8)
    assert found.detectable == pytest.approx((tail + power) * math.sqrt(variance))


def test_however_many_images_report_the_luck_of_few_labels_stays(evidence: Make) -> None:
    rng = np.random.default_rng(0)
    best = evidence("best", (rng.random(200) < 0.9).astype(float))
    pixels = evidence("pixels", (rng.random(200) < 0.9).astype(float), control=True)
    many = tuple((rng.random((1, 10**6)) < share).astype(float) for share in (0.91, 0.9))
    found = contrast([best, pixels], best, pixels, (many[0], many[1]))
    luck = math.sqrt(LUCK_OF_LABELS * (0.91 * 0.09 + 0.9 * 0.1) / 200)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * luck, rel=0.02)
    assert found.outcome == "none shown"
    # a holdout answers few of the images that its final model learns from
    more = [replace(plan, labels=800) for plan in (best, pixels)]
    narrow = contrast(more, *more, (many[0], many[1]))
    assert narrow.high - narrow.low == pytest.approx((found.high - found.low) / 2, rel=0.05)


def test_before_the_report_split_is_read_the_pool_alone_counts(evidence: Make) -> None:
    best, pixels = evidence("a", np.ones(100)), evidence("p", np.arange(100) > 9, control=True)
    found = contrast([best, pixels], best, pixels, None)
    assert found.difference == pytest.approx(0.1)


def test_the_luck_of_the_best_of_many_is_taken_off(evidence: Make) -> None:
    rng = np.random.default_rng(2)
    plans = [evidence(str(i), rows(rng, 0.8, 200)[0]) for i in range(20)]
    best = max(plans, key=lambda plan: plan.score_n(plan.folds).mean())
    pixels = evidence("pixels", rows(rng, 0.8, 200)[0], control=True)
    alone = contrast([best, pixels], best, pixels, None)
    of_many = contrast([*plans, pixels], best, pixels, None)
    assert of_many.difference < alone.difference - 0.02


def test_of_the_best_ones_luck_what_the_labels_gave_is_taken_off_its_final_models_too(
    evidence: Make,
) -> None:
    rng = np.random.default_rng(2)
    plans = [evidence(str(i), rows(rng, 0.8, 200)[0]) for i in range(20)]
    best = max(plans, key=lambda plan: plan.score_n(plan.folds).mean())
    pixels = evidence("pixels", rows(rng, 0.8, 200)[0], control=True)
    report = (np.tile([1.0, 1.0, 1.0, 1.0, 0.0], 10**5), np.tile([1.0, 0.0, 0.0, 1.0, 1.0], 10**5))
    found = contrast([*plans, pixels], best, pixels, (report[0][None], report[1][None]))
    drawn = drawn_in(plans, best.folds, {})
    place = plans.index(best)
    luck = drawn.score_p[place] - drawn.true_p[place]
    # of plans that answer independently: 0.25 in 1.25, less as the best one varies less
    assert drawn.of_labels_p[place] == pytest.approx(0.17, abs=0.02)
    assert found.difference == pytest.approx(0.2 - luck * drawn.of_labels_p[place], abs=1e-3)


def test_two_trainings_of_a_control_do_not_hide_a_difference_of_thirty_points(
    evidence: Make,
) -> None:
    """As on aerial scenes, where scratch was confirmed on two folds and trained once finally."""
    rng = np.random.default_rng(1)
    best = evidence("best", rows(rng, 0.74, 250)[0])
    scratch = evidence("scratch", rows(rng, 0.33, 250)[0], scored=[1, 2], **SEEDED)
    report = rows(rng, 0.73, 2000), rows(rng, 0.42, 2000)
    found = contrast([best, scratch], best, scratch, report)
    assert found.outcome == "effect"
    assert 0.08 < found.difference - found.low < 0.2  # and yet they tell little


def test_a_variance_of_seeds_alone_gives_students_interval() -> None:
    (one,) = may_be([SeedVariance(0.0, 0.0, math.inf)])
    assert one == 0.0
    for freedom in (2.0, 8.0):
        may_be_v = may_be([SeedVariance(4e-4, 4e-4, freedom)])
        half = half_width(may_be_v, np.full_like(may_be_v, math.inf), 0.95)
        assert half == pytest.approx(0.02 * stats.t.ppf(0.975, freedom), rel=0.06)
        # where examples are nine tenths of it, it is next to the normal one
        mixed = half_width(3.6e-3 + may_be_v, np.full_like(may_be_v, math.inf), 0.95)
        assert 1.96 * math.sqrt(4e-3) < mixed < 1.5 * 1.96 * math.sqrt(4e-3)
    assert np.isfinite(may_be([SeedVariance(4e-4, 4e-4, 0.01)])).all()
    same_v = np.full(32, 4e-4)  # no root of rounding errors is looked for
    for confidence in (0.8, 0.95, 0.99):
        half = half_width(same_v, np.full_like(same_v, 50.0), confidence)
        assert half == pytest.approx(0.02 * stats.t.ppf((1 + confidence) / 2, 50))


def test_report_tables_of_other_images_are_refused(evidence: Make) -> None:
    best, pixels = evidence("a", np.ones(100)), evidence("p", np.ones(100), control=True)
    with pytest.raises(ValueError, match="4 and 5 examples cannot be paired"):
        contrast([best, pixels], best, pixels, (np.ones((1, 4)), np.ones((3, 5))))


def test_without_a_common_fold_there_is_no_contrast(evidence: Make) -> None:
    best = evidence("a", np.ones(100), scored=[1, 2])
    pixels = evidence("p", np.ones(100), scored=[0], control=True)
    with pytest.raises(ValueError, match="no fold in common"):
        contrast([best, pixels], best, pixels, None)


def test_helped_is_seldom_said_where_the_best_of_many_is_as_good_as_a_control(
    evidence: Make,
) -> None:
    rng, said, studies = np.random.default_rng(3), 0, 200
    for _ in range(studies):
        easy = rng.normal(0, 1, 200)
        plans = [evidence(str(i), easy + rng.normal(0, 0.6, 200) > -1.2) for i in range(12)]
        best = max(plans, key=lambda plan: plan.score_n(plan.folds).mean())
        pixels = evidence("pixels", easy + rng.normal(0, 0.6, 200) > -1.2, control=True)
        new = rng.normal(0, 1, 100)
        report = tuple((new + rng.normal(0, 0.6, 100) > -1.2)[None].astype(float) for _ in "ab")
        said += contrast([*plans, pixels], best, pixels, report).outcome == "effect"  # type: ignore[arg-type]
    assert said / studies <= 0.04
