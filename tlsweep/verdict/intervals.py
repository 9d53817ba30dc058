"""Intervals for the score of a plan and for the difference of two plans.

The measurements are a table of example scores [replicates, examples]: every replicate (seed)
answered the same examples. Both are samples, crossed with each other: another seed would have given
another row, another draw of examples other columns. An interval that looks only at the seeds, or
only at the examples, is too narrow. The variance of the grand mean of such a table is the one of a
two-way random-effects layout (Searle, Casella and McCulloch 1992, ch. 4); few replicates make it
uncertain, so its degrees of freedom are Satterthwaite's (1946). A table of one row stands for a
plan that no seed changes: its seeds have no variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Scores = npt.NDArray[np.float64]
Hits = npt.NDArray[np.bool_] | Scores  # right or wrong, as 1 and 0


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval."""

    score: float
    low: float
    high: float

    def as_list(self) -> list[float]:
        """[low, high]"""
        return [self.low, self.high]


def accuracy_interval(hits: Hits, confidence: float = 0.95) -> Interval:
    """The accuracy over replicates and images, with its interval, within [0, 1].

    hits: [replicates, images], whether each replicate classified each image rightly.
    Wilson's interval (1927) at the effective number of images p (1 - p) / variance, as survey
    statistics does for clustered proportions (Korn and Graubard 1998; Dean and Pagano 2015): it
    stays inside [0, 1] and does not collapse when every image is a hit.
    Raises ValueError if the table is empty.
    """
    table = _table(hits)
    p = float(table.mean())
    variance, freedom = variance_of_mean(table)
    n_effective = float(table.shape[1])
    if variance > 0 and 0 < p < 1:
        n_effective = min(p * (1 - p) / variance, float(table.size))
    z = float(stats.t.ppf((1 + confidence) / 2, freedom))
    spread = z * z / n_effective
    centre = (p + spread / 2) / (1 + spread)
    half = z * math.sqrt(p * (1 - p) / n_effective + z * z / (4 * n_effective**2)) / (1 + spread)
    return Interval(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)))


def mean_interval(
    scores: Scores, confidence: float = 0.95, *, low: float = -math.inf, high: float = math.inf
) -> Interval:
    """The mean of scores of any kind over replicates and examples, with its interval.

    scores: [replicates, examples]; low, high: what the mean lies between. Student's interval: of
    examples that are right or wrong ``accuracy_interval`` knows more. Raises ValueError if the
    table is empty.
    """
    table = _table(scores)
    mean = float(table.mean())
    variance, freedom = variance_of_mean(table)
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(variance)
    return Interval(mean, min(mean, max(low, mean - half)), max(mean, min(high, mean + half)))


def model_interval(right_n: Hits, confidence: float = 0.95) -> Interval:
    """The accuracy of one model, with its interval: of the model that is taken home.

    right_n: [images], whether it classified each rightly. Wilson's score interval (1927): what is
    random is the draw of the images, not the model. Raises ValueError if there is no image.
    """
    if right_n.ndim != 1 or not len(right_n):
        raise ValueError(f"hits of one model are [images]; got shape {right_n.shape}")
    n, hits = len(right_n), int(right_n.sum())
    found = stats.binomtest(hits, n).proportion_ci(confidence, method="wilson")
    return Interval(hits / n, float(found.low), float(found.high))


def difference_interval(
    a: Hits, b: Hits, confidence: float = 0.95, *, most: float = 1.0
) -> Interval:
    """Mean score of ``a`` minus that of ``b`` on the same images, with its interval.

    a, b: [replicates, images] each; most: that two means can be apart. With as many replicates on
    both sides they are paired by seed; otherwise (a replicate was lost) only the images are, and
    the seeds of both sides are taken to vary alike. Pairing on images removes what makes an image
    hard for both.
    Raises ValueError if the images differ in number.
    """
    first, second = _table(a), _table(b)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{first.shape[1]} and {second.shape[1]} images cannot be paired")
    d = float(first.mean() - second.mean())
    if len(first) == len(second):
        variance, freedom = variance_of_mean(first - second)
    else:
        variance, freedom = _variance_of_unpaired(first, second)
    # two equal tables show no difference, not that there is none: half a hit is the least we see
    variance = max(variance, (0.5 / first.shape[1]) ** 2)
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(variance)
    return Interval(d, max(-most, d - half), min(most, d + half))


def _table(hits: Hits) -> npt.NDArray[np.float64]:
    table = np.atleast_2d(np.asarray(hits, dtype=np.float64))
    if table.size == 0 or table.ndim != 2:
        raise ValueError(f"hits are a table [replicates, images]; got shape {np.shape(hits)}")
    return table


def variance_of_mean(table: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Variance of the grand mean, and its degrees of freedom."""
    replicates, images = table.shape
    if images == 1:
        return 0.0, 1.0
    of_images = float(table.mean(0).var(ddof=1)) / images
    if replicates == 1:
        return of_images, images - 1.0
    of_rows, of_chance = (sum_ / (replicates - 1) for sum_ in _row_sums(table))
    return _with_seeds(of_images, images, of_rows, of_chance, 1 / replicates, replicates - 1)


def _variance_of_unpaired(
    first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """The same for the difference of two grand means over unequal numbers of replicates."""
    images = first.shape[1]
    if images == 1:
        return 0.0, 1.0
    of_images = float((first.mean(0) - second.mean(0)).var(ddof=1)) / images
    freedom = max(1, len(first) + len(second) - 2)
    sums = zip(_row_sums(first), _row_sums(second), strict=True)
    of_rows, of_chance = (sum(both) / freedom for both in sums)
    share = _share(first, second)
    return _with_seeds(of_images, images, of_rows, of_chance, share, freedom)


def _share(*tables: npt.NDArray[np.float64]) -> float:
    """How much of a replicate's variance is left in the difference of two grand means."""
    # a table of one row is of a plan that no seed changes
    return sum(1 / len(table) for table in tables if len(table) > 1)


def _row_sums(table: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Sum of squares of the replicates' means about their mean; and what chance gives of it."""
    images = table.shape[1]
    rows = table.mean(1) - table.mean()
    residual = table - table.mean(0) - rows[:, None]
    return float(rows @ rows), float((residual**2).sum()) / (images * (images - 1))


def _with_seeds(
    of_images: float, images: int, of_rows: float, of_chance: float, share: float, freedom: int
) -> tuple[float, float]:
    """Variance and degrees of freedom once the seeds' part is added.

    of_rows: variance of a replicate's mean, with ``freedom``; share: how much of it is left in
    the grand mean.
    """
    excess = (of_rows - of_chance) * share  # what seeds add beyond chance; none if negative
    if excess <= 0:
        return of_images, images - 1.0
    variance = of_images + excess
    uncertainty = of_images**2 / (images - 1) + (of_rows * share) ** 2 / freedom
    return variance, max(1.0, variance**2 / uncertainty)
