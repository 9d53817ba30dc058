"""Report images unlike the labelled ones are told from chance, and chance is not taken for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tlsweep.verdict import Tried, beyond_chance
from tlsweep.verdict.shift import difference, report_less_held_out

Make = Callable[..., Tried]


def test_it_is_the_mean_over_the_frozen_plans_that_keep_something(plan: Make) -> None:
    tried = [
        plan(0.95, [0.60], keep=4),
        plan(0.85, [0.50], keep=8),
        plan(0.95, [0.95, 0.95], name="finetune", keep=8, freeze=0),
        plan(0.40, [0.42], keep=0, controls=("raw_pixels",), candidate=False),
    ]
    found = report_less_held_out(tried)
    assert found is not None
    assert found.score == pytest.approx(0.55 - 0.90)
    assert found.low < found.score < found.high < -0.1
    assert beyond_chance(found)


def test_it_is_unknown_before_the_report_split_is_read(plan: Make) -> None:
    assert report_less_held_out([plan(0.95, None, keep=4)]) is None
    assert report_less_held_out([plan(0.4, [0.4], keep=0, candidate=False)]) is None
    assert not beyond_chance(None)


def test_one_image_tells_nothing(plan: Make) -> None:
    one = replace(plan(0.95, [0.5], keep=4), report_rn=np.ones((1, 1)))
    assert report_less_held_out([one]) is None


def test_a_gain_from_more_labels_alone_is_no_shift() -> None:
    pool, report = np.arange(20_000) % 100 < 90, np.arange(20_000) % 100 < 92
    found = difference(pool.astype(float), report.astype(float), 2.25)
    assert found is not None
    assert found.low > 0
    assert not beyond_chance(found)


def test_chance_alone_is_hardly_ever_taken_for_a_shift() -> None:
    """Labels, folds and report images as they vary: some 1 study in 1,000 at the very most."""
    rng, false = np.random.default_rng(0), 0
    for _ in range(2000):
        of_labels = rng.normal(0, np.sqrt(0.25 * 0.9 * 0.1 / 250))
        pool = (rng.random(250) < 0.9).astype(float)
        report = (rng.random(150) < min(1.0, 0.9 + of_labels)).astype(float)
        false += beyond_chance(difference(pool, report, 2.25))
    assert false <= 2
