"""Temporary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from tlsweep.verdict.intervals import Interval
from tlsweep.verdict.tried import Tried


@dataclass(frozen=True)
class Standing:
    less: Interval
    p_best: float
    expected_loss: float


@dataclass(frozen=True)
class Choice:
    best: int
    cheaper: int | None
    standings: tuple[Standing, ...]
    margin: float
    more_images: int | None

    @property
    def recommended(self) -> int:
        return self.best if self.cheaper is None else self.cheaper


def _pairs(a: Tried, b: Tried):
    folds = sorted(set(a.fold_r.tolist()) & set(b.fold_r.tolist()))
    d = []
    for f in folds:
        x = np.nanmean(a.scores_rn[a.fold_r == f], 0)
        y = np.nanmean(b.scores_rn[b.fold_r == f], 0)
        d.append(np.nanmean(x - y))
    return np.array(d)


def compare(a: Tried, b: Tried, confidence=0.95) -> Interval:
    d = _pairs(a, b)
    k = len(d)
    if k < 2:
        m = float(d.mean()) if k else 0.0
        return Interval(m, -1.0, 1.0)
    n = a.scores_rn.shape[1]
    var = max(d.var(ddof=1), 1.0 / n / n) * (1 / k + 1 / (max(k, 5) - 1))
    half = stats.t.ppf((1 + confidence) / 2, k - 1) * var**0.5
    m = float(d.mean())
    return Interval(m, m - half, m + half)


def decide(tried: Sequence[Tried], *, margin: float, confidence: float) -> Choice:
    candidates = [i for i, t in enumerate(tried) if t.candidate]
    best = max(candidates, key=lambda i: (tried[i].score, -float(np.nanmean(tried[i].losses_rn))))
    two_sided = 2 * confidence - 1
    standings, cheaper = [], None
    for i, t in enumerate(tried):
        less = compare(tried[best], t, two_sided)
        standings.append(Standing(less, 1.0 if i == best else 0.0, max(0.0, less.score)))
    as_good = [
        i
        for i in candidates
        if standings[i].less.high <= margin and tried[i].cost < tried[best].cost
    ]
    if as_good:
        cheaper = min(as_good, key=lambda i: tried[i].cost)
    return Choice(best, cheaper, tuple(standings), margin, None)


def may_still_win(tried: Sequence[Tried], t: Tried) -> bool:
    best = max((x for x in tried if x.candidate), key=lambda x: x.score)
    return compare(best, t, 0.9).low <= 0.0


def nested_penalty(scores_pn, losses_pn, fold_n):
    folds = np.unique(fold_n)
    merit = lambda keep: max(
        range(len(scores_pn)), key=lambda p: (scores_pn[p][keep].mean(), -losses_pn[p][keep].mean())
    )
    last = merit(np.ones(len(fold_n), bool))
    if len(folds) == 1:
        return [last], last
    return [merit(fold_n != f) for f in folds], last
