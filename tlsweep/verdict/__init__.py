"""Pure functions from measurements to intervals and a recommendation."""

from tlsweep.verdict.decide import Choice, Standing, decide, may_still_win, nested_penalty
from tlsweep.verdict.intervals import Interval, accuracy_interval, difference_interval
from tlsweep.verdict.reach import CurvePoint, PlanRow, Recommended, Scored, Verdict, reach
from tlsweep.verdict.transfer import Contrast
from tlsweep.verdict.tried import Tried

__all__ = [
    "Choice",
    "Contrast",
    "CurvePoint",
    "Interval",
    "PlanRow",
    "Recommended",
    "Scored",
    "Standing",
    "Tried",
    "Verdict",
    "accuracy_interval",
    "decide",
    "difference_interval",
    "may_still_win",
    "nested_penalty",
    "reach",
]
