"""Whether a training takes longer than it may, as its epochs tell."""

from __future__ import annotations

import math

import pytest

from tlsweep.train.pace import Pace


def test_epochs_that_go_too_slowly_tell_after_the_second_one() -> None:
    pace = Pace(room=100.0)
    assert pace.too_long(30.0, 1, 30) is None  # the first one opens the data
    assert pace.too_long(35.0, 2, 30) == pytest.approx(35 + 28 * 5)


def test_what_is_fast_enough_goes_on() -> None:
    pace = Pace(room=100.0)
    assert [pace.too_long(30.0 + 2 * n, n + 1, 30) for n in range(30)] == [None] * 30


def test_seconds_that_have_passed_tell_too() -> None:
    assert Pace(room=100.0).too_long(101.0, 1, 30) == 101.0
    assert Pace(room=100.0).too_long(101.0, 30, 30) is None  # it is over, and its score is known


def test_a_training_that_may_end_soon_is_asked_no_more_than_that() -> None:
    pace = Pace(room=100.0)
    assert pace.too_long(10.0, 1, 4) is None
    assert pace.too_long(30.0, 2, 6) == pytest.approx(110.0)


def test_without_a_limit_nothing_is_too_long() -> None:
    assert Pace(math.inf).too_long(1e9, 1, 30) is None
