"""A head on all cut points at once stands beside the plans, compared with the recommended one."""

from __future__ import annotations

import numpy as np
import pytest

from tlsweep.task import Classes
from tlsweep.verdict import Mixed, Told, difference_interval, model_interval


def test_its_row_holds_its_scores_and_how_much_better_the_recommended_plan_is() -> None:
    held_out, report = np.repeat([1.0, 0.0], [80, 20]), np.repeat([1.0, 0.0], [170, 30])
    recommended = np.repeat([[1.0, 0.0]], [180, 20], axis=1)
    mixed = Mixed("net", 700, 14_000, 10**9, held_out, report)
    row = mixed.row(recommended, Told(Classes(10).measure))
    assert (row["source"], row["features"], row["of"], row["flops"]) == ("net", 700, 14_000, 10**9)
    assert row["out_of_fold"] == 0.8
    assert row["score"] == pytest.approx(0.85)
    assert row["interval"] == model_interval(report > 0, 0.95).as_list()
    assert row["recommended_minus_this"] == pytest.approx(0.05)
    assert row["difference_interval"] == pytest.approx(
        difference_interval(recommended, report[None], 0.95, most=1.0).as_list()
    )
