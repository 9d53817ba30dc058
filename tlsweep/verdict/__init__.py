"""Pure functions from measurements to intervals and a recommendation."""

from tlsweep.verdict.intervals import (
    Interval,
    accuracy_interval,
    difference_interval,
    differences_from,
)
from tlsweep.verdict.reach import Confirmed, CurvePoint, Recommended, Verdict, reach
from tlsweep.verdict.rule import choose

__all__ = [
    "Confirmed",
    "CurvePoint",
    "Interval",
    "Recommended",
    "Verdict",
    "accuracy_interval",
    "choose",
    "difference_interval",
    "differences_from",
    "reach",
]
