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

FEWEST = 5.0  # degrees of freedom that heavy tails leave: fewer made intervals wider, not truer
MOST = 50.0  # of an interval's half on a logarithm, so that no number overflows


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
    variance, freedom = variance_of_mean(table)
    quantile = float(stats.t.ppf((1 + confidence) / 2, freedom))
    return _wilson(float(table.mean()), variance, table.shape[1], quantile, most=table.size)


def mean_interval(
    scores: Scores, confidence: float = 0.95, *, low: float = -math.inf, high: float = math.inf
) -> Interval:
    """The mean of scores of any kind over replicates and examples, with its interval.

    scores: [replicates, examples]; low, high: what the mean lies between. Near a bound the error is
    lopsided. Between two bounds it is Wilson's interval, as of a share; below an upper one alone
    (of errors, or of R2) it is Student's on the logarithm of the distance to it, as a standard
    deviation's is. Heavy tails count (``_freedom``). Of examples that are right or wrong
    ``accuracy_interval`` knows more. Raises ValueError if the table is empty.
    """
    table = _table(scores)
    mean, images = float(table.mean()), table.shape[1]
    variance, freedom = variance_of_mean(table, heavy=True)
    quantile = float(stats.t.ppf((1 + confidence) / 2, freedom))
    if math.isfinite(low) and math.isfinite(high):
        width, share = high - low, min(1.0, max(0.0, (mean - low) / (high - low)))
        found = _wilson(share, variance / width**2, images, quantile)
        below, above = low + width * found.low, low + width * found.high
    elif mean < high < math.inf:
        room = high - mean
        times = math.exp(min(MOST, quantile * math.sqrt(variance) / room))
        below, above = high - room * times, high - room / times
    else:
        half = quantile * math.sqrt(variance)
        below, above = max(low, mean - half), min(high, mean + half)
    return Interval(mean, min(mean, below), max(mean, above))


def _wilson(
    p: float, variance: float, images: int, quantile: float, *, most: float = math.inf
) -> Interval:
    """Wilson's interval of a share at its effective number of images, of at most so many.

    As many as there are where the scores do not vary, or do so about 0 or 1: few images that are
    all answered rightly prove little.
    """
    n_effective = float(images)
    if variance > 0 and 0 < p < 1:
        n_effective = min(p * (1 - p) / variance, float(most))
    spread = quantile * quantile / n_effective
    centre = (p + spread / 2) / (1 + spread)
    half = math.sqrt(p * (1 - p) / n_effective + quantile * quantile / (4 * n_effective**2))
    half = quantile * half / (1 + spread)
    return Interval(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)))


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


def variance_of_mean(table: npt.NDArray[np.float64], *, heavy: bool = False) -> tuple[float, float]:
    """Variance of the grand mean, and its degrees of freedom.

    heavy: whether a few examples may tell most of it.
    """
    replicates, images = table.shape
    if images == 1:
        return 0.0, 1.0
    of_images = float(table.mean(0).var(ddof=1)) / images
    own = _freedom(table.mean(0)) if heavy else images - 1.0
    if replicates == 1:
        return of_images, own
    of_rows, of_chance = (sum_ / (replicates - 1) for sum_ in _row_sums(table))
    return _with_seeds(of_images, own, of_rows, of_chance, 1 / replicates, replicates - 1)


def _freedom(scores_n: npt.NDArray[np.float64]) -> float:
    """Degrees of freedom of the variance of examples. Where a few tell most of it they are few.

    A sample's variance has itself a variance, of 2 / (n - 1) + kurtosis / n times its square, which
    Satterthwaite (1946) matches to that of a chi-square. Light tails count as normal ones.
    """
    n, centred = len(scores_n), scores_n - scores_n.mean()
    variance = float(np.square(centred).mean())
    if n < 2 or variance <= 0:
        return max(1.0, n - 1.0)
    kurtosis = float(np.square(np.square(centred) / variance).mean()) - 3
    found = 2 / (2 / (n - 1) + max(0.0, kurtosis) / n)
    return max(found, min(n - 1.0, FEWEST))


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
    return _with_seeds(of_images, images - 1.0, of_rows, of_chance, share, freedom)


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
    of_images: float, own: float, of_rows: float, of_chance: float, share: float, freedom: int
) -> tuple[float, float]:
    """Variance and degrees of freedom once the seeds' part is added.

    own: degrees of freedom of the images' variance; of_rows: variance of a replicate's mean, with
    ``freedom``; share: how much of it is left in the grand mean.
    """
    excess = (of_rows - of_chance) * share  # what seeds add beyond chance; none if negative
    if excess <= 0:
        return of_images, own
    variance = of_images + excess
    uncertainty = of_images**2 / own + (of_rows * share) ** 2 / freedom
    return variance, max(1.0, variance**2 / uncertainty)
