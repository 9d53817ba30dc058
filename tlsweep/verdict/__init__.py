"""Pure functions from measurements to intervals and a recommendation."""

from tlsweep.verdict.contrast import Contrast, contrast
from tlsweep.verdict.evidence import Comparison, Evidence, compare
from tlsweep.verdict.intervals import (
    Interval,
    accuracy_interval,
    difference_interval,
    differences_from,
    model_interval,
)
from tlsweep.verdict.penalty import PENALTIES, Nested, nested_penalty
from tlsweep.verdict.reach import Confirmed, CurvePoint, Recommended, Verdict, reach
from tlsweep.verdict.rule import Ranked, Recommendation, best, choose, may_still_win, recommend

__all__ = [
    "PENALTIES",
    "Comparison",
    "Confirmed",
    "Contrast",
    "CurvePoint",
    "Evidence",
    "Interval",
    "Nested",
    "Ranked",
    "Recommendation",
    "Recommended",
    "Verdict",
    "accuracy_interval",
    "best",
    "choose",
    "compare",
    "contrast",
    "difference_interval",
    "differences_from",
    "may_still_win",
    "model_interval",
    "nested_penalty",
    "reach",
    "recommend",
]
