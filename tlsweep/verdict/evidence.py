"""What is known of plans from the labels that may choose, and how two plans compare on it.

A replicate is another seed and another fold: a plan's model is trained on the pool without a fold
and answers that fold. Pairs of plans are compared on the folds that both have, example by example,
so that what makes an example hard for both cancels. On a large pool there is one holdout in place
of folds, and replicates are seeds that answer the same examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import special

Table = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """How one plan answered the examples of the pool.

    scores_rn, losses_rn: [replicates, examples], the score of an example (higher is better) and its
    log loss in nats, NaN where a replicate did not answer it; fold_r: the fold that each replicate
    held out; cost: FLOPs of a forward pass, then trained parameters, what to be small in; kind:
    plans of one kind are taken to vary alike over seeds; control: never a candidate; deterministic:
    no seed changes it; labels: examples that its final model learns from, 0 where it is as many as
    were answered.

    Raises ValueError for tables of different shapes, an empty one, or a replicate without answers.
    """

    name: str
    scores_rn: Table
    losses_rn: Table
    fold_r: npt.NDArray[np.int64]
    cost: tuple[float, float]
    kind: str = "frozen"
    control: bool = False
    deterministic: bool = False
    labels: int = 0

    def __post_init__(self) -> None:
        shape = self.scores_rn.shape
        if len(shape) != 2 or self.losses_rn.shape != shape or self.fold_r.shape != shape[:1]:
            raise ValueError(
                f"{self.name}: scores {shape}, losses {self.losses_rn.shape} and folds"
                f" {self.fold_r.shape} are not [replicates, examples] twice and [replicates]"
            )
        if not shape[0] or np.isnan(self.scores_rn).all(1).any():
            raise ValueError(f"{self.name}: every replicate answers an example")

    @cached_property
    def folds(self) -> frozenset[int]:
        """The folds that it was scored on."""
        return frozenset(self.fold_r.tolist())

    def of(self, folds: frozenset[int]) -> list[int]:
        """Its replicates that held out one of these folds."""
        return [r for r, fold in enumerate(self.fold_r.tolist()) if fold in folds]

    def score_n(self, folds: frozenset[int]) -> Table:
        """Score of each example, mean over the replicates of these folds; NaN elsewhere."""
        return _mean_rows(self.scores_rn[self.of(folds)])

    def loss_n(self, folds: frozenset[int]) -> Table:
        """The same of the losses."""
        return _mean_rows(self.losses_rn[self.of(folds)])

    def fold_of(self, folds: frozenset[int]) -> npt.NDArray[np.int64]:
        """The fold of each example, -1 for one of none of these folds: [examples]."""
        found = np.full(self.scores_rn.shape[1], -1)
        for r in self.of(folds):
            found[~np.isnan(self.scores_rn[r])] = self.fold_r[r]
        return found


def _mean_rows(table_rn: Table) -> Table:
    answered = ~np.isnan(table_rn)
    count = answered.sum(0)
    total = np.where(answered, table_rn, 0.0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def contenders(plans: Sequence[Evidence]) -> tuple[list[Evidence], frozenset[int]]:
    """The candidates that went the whole way, and the folds that all of them have.

    The trained candidate with most folds tells how far the way is (the fold that the search used
    is not on it); without one, the frozen candidate with most. Who lacks one of these folds was
    dropped. Raises ValueError if there is no candidate.
    """
    candidates = [plan for plan in plans if not plan.control]
    if not candidates:
        raise ValueError("no candidate to choose from")
    trained = [plan for plan in candidates if not plan.deterministic]
    way = max((plan.folds for plan in trained or candidates), key=len)
    return [plan for plan in candidates if plan.folds >= way], way


@dataclass(frozen=True)
class SeedVariance:
    """How much the score of one replicate varies over seeds, in a kind of plan.

    value: the variance beyond what examples explain; seen: with it; freedom: degrees of freedom.
    """

    value: float
    seen: float
    freedom: float

    def of(self, share: float) -> SeedVariance:
        """What is left of it in a mean: one over the number of replicates."""
        return SeedVariance(self.value * share, self.seen * share, self.freedom)

    def pooled(self, other: SeedVariance) -> SeedVariance:
        """Two estimates as one, each counted by its precision.

        That is by freedom / seen^2: replicates that answered many examples know far more of seeds
        than those of small folds. What seeds give of ``seen`` is taken from both, since a small
        ``seen`` of three replicates is mostly luck; it is looked for until it is what it gives.
        """
        both = (self, other)
        freedom_p = np.array([part.freedom for part in both])
        value_p = np.array([part.value for part in both])
        chance_p = np.array([part.seen - part.value for part in both])
        value = float(np.average(value_p, weights=freedom_p))
        for _ in range(ROUNDS):
            seen_p = chance_p + value
            known_p = freedom_p / np.maximum(seen_p, TINY) ** 2
            weight_p = known_p / known_p.sum()
            before, value = value, float(weight_p @ value_p)
            if abs(value - before) < TINY:
                break
        seen = float(weight_p @ seen_p)
        freedom = min(float(freedom_p.sum()), seen**2 * float(known_p.sum()))
        return SeedVariance(value, seen, freedom)


ROUNDS = 50  # a handful is enough: each weighs by the value of the one before
TINY = 1e-8  # a variance of scores: less is none
SEED_SPREAD = 0.05  # of a score near one half over seeds, beforehand: more than most vary
FREEDOM_BEFOREHAND = 2.0  # degrees of freedom that this expectation counts for
Seeds = Mapping[str, SeedVariance]


def seed_variance(plans: Sequence[Evidence], folds: frozenset[int]) -> dict[str, SeedVariance]:
    """How much scores vary over seeds beyond what their examples explain, a kind of plan.

    plans: those that have all of ``folds``. Pooled within a kind: from the few replicates of one
    plan alone it is so uncertain that chance decides. Of folds, the difference from the plans' mean
    is looked at, so that easy and hard folds do not count.
    """
    found: dict[str, list[tuple[float, float, float, int]]] = {}
    usual_n = np.mean([plan.score_n(folds) for plan in plans], axis=0) if plans else np.empty(0)
    for plan in plans:
        rows = plan.scores_rn[plan.of(folds)]
        if not plan.deterministic and len(rows) > 1:
            found.setdefault(plan.kind, []).append(
                (*_variances(rows, usual_n), _of_examples(rows), len(rows) - 1)
            )
    return {kind: _pooled(np.array(parts)) for kind, parts in found.items()}


def seed_variance_of(table_rn: Table, *, alone: bool = False) -> SeedVariance:
    """How much one plan's score varies over seeds that all answered the same examples.

    table_rn: scores [replicates, examples], two replicates or more. alone: nothing else is known of
    its kind, so that what is expected beforehand counts too.
    """
    seen, chance = _variances(table_rn, np.zeros(table_rn.shape[1]))
    freedom = len(table_rn) - 1.0
    if alone:
        return _moderated(seen, chance, _of_examples(table_rn), freedom)
    return SeedVariance(max(0.0, seen - chance), seen, freedom)


def _pooled(parts_p4: Table) -> SeedVariance:
    freedom_p = parts_p4[:, 3]
    means = np.average(parts_p4[:, :3], axis=0, weights=freedom_p)
    seen, chance, of_examples = (float(mean) for mean in means)
    return _moderated(seen, chance, of_examples, float(freedom_p.sum()))


def _moderated(seen: float, chance: float, of_examples: float, freedom: float) -> SeedVariance:
    """What replicates show, with what is expected beforehand.

    Two or three alone tell next to nothing (moderated variances: Smyth 2004, "Linear models and
    empirical Bayes methods for assessing differential expression", section 3).
    """
    expected = _expected(of_examples)
    beforehand = SeedVariance(expected, chance + expected, FREEDOM_BEFOREHAND)
    return SeedVariance(max(0.0, seen - chance), seen, freedom).pooled(beforehand)


def _of_examples(table_rn: Table) -> float:
    """Variance of examples' scores; where all are right, at least as if one of them were not."""
    return max(float(np.nanvar(table_rn)), 1 / np.count_nonzero(~np.isnan(table_rn)))


def _expected(of_examples: float) -> float:
    """Variance over seeds that is expected beforehand.

    A spread of ``SEED_SPREAD`` where half of the examples are right, less where almost all or none
    are, as the variance of their scores has it.
    """
    return 4 * of_examples * SEED_SPREAD**2


def _variances(rows_rn: Table, usual_n: Table) -> tuple[float, float]:
    """Variance of the replicates' means, and what chance gives of it."""
    answered_rn = ~np.isnan(rows_rn)
    if (answered_rn == answered_rn[0]).all():  # one holdout
        rows_rn = rows_rn[:, answered_rn[0]]
        residual = rows_rn - rows_rn.mean(0) - rows_rn.mean(1, keepdims=True) + rows_rn.mean()
        replicates, examples = rows_rn.shape
        chance = float((residual**2).sum()) / ((replicates - 1) * examples * max(1, examples - 1))
        return float(np.var(rows_rn.mean(1), ddof=1)), chance
    beyond = rows_rn - usual_n
    held = [row[~np.isnan(row)] for row in beyond]
    chance = float(np.mean([row.var() / max(1, len(row) - 1) for row in held]))
    return float(np.var([row.mean() for row in held], ddof=1)), chance


def quantile(share: float, freedom: float) -> float:
    """Of Student's t; of the normal distribution where the degrees of freedom are infinite."""
    return float(special.ndtri(share) if freedom == math.inf else special.stdtrit(freedom, share))


@dataclass(frozen=True)
class Comparison:
    """What a plan's score lacks to another plan's: the estimate, and how far it may be wrong.

    difference: score of the other minus its own; error: standard error; freedom: its degrees of
    freedom; folds: that both have; examples: compared.
    """

    difference: float
    error: float
    freedom: float
    folds: int
    examples: int

    def at_most(self, confidence: float) -> float:
        """The upper end of a one-sided interval."""
        return self.difference + quantile(confidence, self.freedom) * self.error

    def at_least(self, confidence: float) -> float:
        """The lower end of a one-sided interval."""
        return self.difference - quantile(confidence, self.freedom) * self.error

    def between(self, confidence: float) -> tuple[float, float]:
        """Both ends of a two-sided interval."""
        one_sided = (1 + confidence) / 2
        return self.at_least(one_sided), self.at_most(one_sided)

    @property
    def chance(self) -> float:
        """Probability that the plan is as good as the other, or better."""
        return float(special.stdtr(self.freedom, -self.difference / self.error))


def compare(other: Evidence, plan: Evidence, seeds: Seeds | None = None) -> Comparison:
    """``other`` minus ``plan`` on the folds that both have.

    seeds: variance of a replicate's score a kind of plan, as ``seed_variance`` pools it; of a kind
    that is not there, what is expected beforehand counts.

    Folds share most of their training data, so that the spread between them tells too little: its
    variance s^2 counts (1/K + n_test/n_train) times, with K - 1 degrees of freedom (Nadeau and
    Bengio 2003, "Inference for the generalization error", Machine Learning 52, section 4). Four
    numbers are by chance alike now and then: the variance that examples and seeds alone explain is
    the least that counts. One holdout, or one fold, has only that.

    Raises ValueError if they have no fold in common or answered other examples of it.
    """
    folds = other.folds & plan.folds
    if not folds:
        raise ValueError(f"{other.name} and {plan.name} have no fold in common")
    fold_n = plan.fold_of(folds)
    if not np.array_equal(other.fold_of(folds), fold_n):
        raise ValueError(f"{other.name} and {plan.name} answered different examples")
    answered = fold_n >= 0
    d_n, n = (other.score_n(folds) - plan.score_n(folds))[answered], int(answered.sum())
    # two plans that answer alike show no difference, not that there is none
    of_examples = max(float(d_n.var(ddof=1)) / n if n > 1 else 0.0, (0.5 / n) ** 2)
    luck = [luck_of_seeds(p, folds, seeds or {}) for p in (other, plan)]
    least, freedom = explained(of_examples, n, luck)
    mean = float(d_n.mean())
    if len(folds) > 1:
        of_folds = correlation(plan, folds) * _between_folds(d_n, fold_n[answered])
        if of_folds * _tail(len(folds) - 1) > least * _tail(freedom):
            return Comparison(mean, math.sqrt(of_folds), len(folds) - 1.0, len(folds), n)
    return Comparison(mean, math.sqrt(least), freedom, len(folds), n)


def correlation(plan: Evidence, folds: frozenset[int]) -> float:
    """How many times the variance of a mean over folds is that of independent examples.

    1 + K n_test/n_train for K folds (Nadeau and Bengio 2003); 1 for one holdout.
    """
    if len(folds) == 1:
        return 1.0
    pool, size = len(plan.fold_of(folds)), int((plan.fold_of(folds) >= 0).sum()) / len(folds)
    return 1.0 + len(folds) * size / max(1.0, pool - size)


def luck_of_seeds(plan: Evidence, folds: frozenset[int], seeds: Seeds) -> SeedVariance:
    """What seeds give of the variance of a plan's mean score over these folds."""
    if plan.deterministic:
        return SeedVariance(0.0, 0.0, math.inf)
    rows_rn = plan.scores_rn[plan.of(folds)]
    known = seeds.get(plan.kind)
    if known is None:
        expected = _expected(_of_examples(rows_rn))
        known = SeedVariance(expected, expected, math.inf)
    return known.of(1 / len(rows_rn))


# What a plan's score varies by over draws of n labelled images to train on, as a share of the
# variance of its examples' scores over n: 0.13 to 0.45 on five real sets, 100 to 600 images (the
# table in tests/benchmarks/truth.md). All models of a study share one draw and cannot show it.
LUCK_OF_LABELS = 0.25


def luck_of_labels(plan: Evidence, table_rn: Table) -> float:
    """Variance of a plan's expected score by which images were labelled. table_rn: its scores."""
    return LUCK_OF_LABELS * float(np.nanvar(table_rn)) / (plan.labels or plan.scores_rn.shape[1])


def explained(
    of_examples: float, examples: int, luck: Sequence[SeedVariance]
) -> tuple[float, float]:
    """Variance that examples and seeds give together, and its degrees of freedom.

    Satterthwaite 1946, "An approximate distribution of estimates of variance components".
    """
    variance = of_examples + sum(part.value for part in luck)
    uncertain = of_examples**2 / max(1, examples - 1)
    uncertain += sum(part.seen**2 / part.freedom for part in luck if part.value > 0)
    return variance, max(1.0, variance**2 / uncertain) if uncertain > 0 else math.inf


def _between_folds(d_n: Table, fold_n: npt.NDArray[np.int64]) -> float:
    """Variance of the mean of folds, as if they were independent."""
    means = [d_n[fold_n == fold].mean() for fold in np.unique(fold_n)]
    return float(np.var(means, ddof=1)) / len(means)


def _tail(freedom: float) -> float:
    """Square of the 90 % quantile, by which variances of unlike certainty are compared."""
    return quantile(0.9, freedom) ** 2
