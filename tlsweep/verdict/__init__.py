"""Pure functions from measurements to intervals and a recommendation."""

from tlsweep.verdict.contrast import Contrast, contrast
from tlsweep.verdict.evidence import SEED_SPREAD, Comparison, Evidence, compare
from tlsweep.verdict.intervals import (
    Interval,
    accuracy_interval,
    difference_interval,
    mean_interval,
    model_interval,
)
from tlsweep.verdict.mixed import Mixed
from tlsweep.verdict.penalty import PENALTIES, Nested, nested_penalty
from tlsweep.verdict.reach import CurvePoint, PlanRow, Recommended, Scored, Verdict, reach
from tlsweep.verdict.rule import Ranked, Recommendation, best, may_still_win, recommend
from tlsweep.verdict.sentence import raw, what_to_keep
from tlsweep.verdict.shift import beyond_chance
from tlsweep.verdict.shifted import (
    ShiftedAnswer,
    ShiftedPoint,
    ShiftedScore,
    ShiftedScores,
    shifted_answers,
)
from tlsweep.verdict.told import Told
from tlsweep.verdict.tried import Tried, cost_of, family_of, kind_of

__all__ = [
    "PENALTIES",
    "SEED_SPREAD",
    "Comparison",
    "Contrast",
    "CurvePoint",
    "Evidence",
    "Interval",
    "Mixed",
    "Nested",
    "PlanRow",
    "Ranked",
    "Recommendation",
    "Recommended",
    "Scored",
    "ShiftedAnswer",
    "ShiftedPoint",
    "ShiftedScore",
    "ShiftedScores",
    "Told",
    "Tried",
    "Verdict",
    "accuracy_interval",
    "best",
    "beyond_chance",
    "compare",
    "contrast",
    "cost_of",
    "difference_interval",
    "family_of",
    "kind_of",
    "may_still_win",
    "mean_interval",
    "model_interval",
    "nested_penalty",
    "raw",
    "reach",
    "recommend",
    "shifted_answers",
    "what_to_keep",
]
