"""Temporary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tlsweep.verdict.decide import compare
from tlsweep.verdict.intervals import Interval, difference_interval
from tlsweep.verdict.tried import Tried


@dataclass(frozen=True)
class Contrast:
    control: str
    out_of_fold: Interval
    report: Interval | None
    shown: bool
    detectable: float


def contrasts(best: Tried, tried: Sequence[Tried], confidence: float) -> list[Contrast]:
    found = []
    for name in ("scratch", "random_features"):
        for t in tried:
            if name in t.controls:
                oof = compare(best, t, confidence)
                rep = None
                if t.report_rn is not None and best.report_rn is not None:
                    rep = difference_interval(best.report_rn, t.report_rn, confidence)
                shown = rep is not None and rep.low > 0
                found.append(Contrast(name, oof, rep, shown, (oof.high - oof.low) / 2))
    return found
