"""Whether the report images are like the labelled ones, as far as the frozen plans can tell.

The plan is chosen on the labelled images and scored on the report split. Where a user gives both,
they may come from different places, or the labelled ones hold near copies of each other, so that
held-out ones look easy. Then the choice is not what the score is about, and that must be said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tlsweep.verdict.evidence import LUCK_OF_LABELS, Table, correlation, quantile
from tlsweep.verdict.intervals import Interval
from tlsweep.verdict.tried import Tried

CONFIDENCE = 0.999  # it is looked at in every verdict: a false alarm must be rare
NO_MATTER = 0.03  # heads for the report split learn from more images, by some points at most


def report_less_held_out(tried: Sequence[Tried]) -> Interval | None:
    """Accuracy on the report split minus that on held-out labelled images, and its interval.

    The mean over the frozen plans that keep something of the source: no seed changes them, and the
    luck of the best is not in it. None where none was scored on the report split, or where one
    image is all there is.
    """
    frozen = [t for t in tried if t.evidence.deterministic and not t.evidence.control]
    frozen = [t for t in frozen if t.report_rn is not None]
    if not frozen:
        return None
    way = max((t.evidence.folds for t in frozen), key=len)
    frozen = [t for t in frozen if t.evidence.folds == way]
    pool_n = np.mean([t.evidence.score_n(way) for t in frozen], axis=0)
    report_n = np.mean([t.report_rn.mean(0) for t in frozen if t.report_rn is not None], axis=0)
    times = correlation(frozen[0].evidence, way)
    return difference(pool_n[~np.isnan(pool_n)], report_n, times)


def difference(pool_n: Table, report_n: Table, times: float) -> Interval | None:
    """Mean of ``report_n`` minus that of ``pool_n``: different images, so nothing is paired.

    times: how often the pool's variance counts, since folds share their training data; the luck of
    the labelled images moves both. None where one of them is a single image.
    """
    if min(len(pool_n), len(report_n)) < 2:
        return None
    found = float(report_n.mean() - pool_n.mean())
    of_pool = (times + LUCK_OF_LABELS) * float(pool_n.var(ddof=1)) / len(pool_n)
    of_report = float(report_n.var(ddof=1)) / len(report_n)
    half = quantile((1 + CONFIDENCE) / 2, math.inf) * math.sqrt(of_pool + of_report)
    return Interval(found, found - half, found + half)


def beyond_chance(found: Interval | None) -> bool:
    """Whether the two kinds of images differ by more than chance and more labels explain."""
    return found is not None and (found.low > NO_MATTER or found.high < -NO_MATTER)
