"""Any number of labels an example: one logit a label, binary cross-entropy, mean example F1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tlsweep.task.base import Kind, Task
from tlsweep.task.metric import MeanOfExamples, Outputs, Ratio, Scores, Truth, some
from tlsweep.task.unit import PERCENT

if TYPE_CHECKING:
    from torch import Tensor


class Labels(Task):
    """Each of ``n_labels`` labels holds of an example or does not.

    Outputs: a logit a label [n, labels]; what is true: bool [n, labels].

    >>> task, y = Labels(2), np.array([[True, False], [True, True]])
    >>> task.example_scores(np.float32([[3, -3], [3, -3]]), y).round(3).tolist()
    [1.0, 0.667]
    """

    kind: Kind = "labels"
    probes = ("logistic", "ridge")
    blind_words = "most frequent labels"
    floor = 0.002  # nats, mean over labels: of two equally likely classes it would be 0.003

    def __init__(self, n_labels: int, metric: str | None = None) -> None:
        self.n_outputs = n_labels
        self.metrics = (ExampleF1(), MeanAveragePrecision())
        self.metric = self.by(metric).metric

    def losses(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """Binary cross-entropy, mean over the labels, in nats."""
        z = np.where(y_n, 1.0, -1.0) * outputs_no.astype(np.float64)
        losses: Scores = np.logaddexp(0.0, -z).mean(1)
        return losses

    def loss(self, outputs_bo: Tensor, y_b: Tensor) -> Tensor:
        """Mean binary cross-entropy over examples and labels, in nats, weighted by ``weights``."""
        from torch.nn import functional

        t_bo, weight_bo = y_b.to(outputs_bo.dtype), None
        if self.weights is not None:
            without_o, with_o = outputs_bo.new_tensor(self.weights)
            weight_bo = t_bo * with_o + (1 - t_bo) * without_o
        return functional.binary_cross_entropy_with_logits(outputs_bo, t_bo, weight_bo)

    @property
    def can_be_weighted(self) -> bool:
        """Unless a task of another package has a loss of its own."""
        return type(self).loss is Labels.loss

    def balanced(self, y_n: Truth) -> Self:
        """Of each label, the examples with it count as much as those without, all together.

        ``weights`` are [2, m]: without and with. A label that all examples have, or none, counts 1.
        """
        chosen, with_m, n = copy(self), y_n.sum(0), len(y_n)
        count_2m = np.stack([n - with_m, with_m])
        both_m = (count_2m > 0).all(0)
        chosen.weights = np.where(both_m, n / (2 * np.maximum(count_2m, 1)), 1.0)
        return chosen

    def example_weights(self, y_n: Truth) -> NDArray[np.float64]:
        """That of each label of each example."""
        if self.weights is None:
            return np.ones(y_n.shape)
        found: NDArray[np.float64] = np.where(y_n, self.weights[1], self.weights[0])
        return found

    def regressed(self, y_n: Truth) -> NDArray[np.float64]:
        """1 for a label that holds, 0 for others."""
        return y_n.astype(np.float64)

    @property
    def guess(self) -> float:
        """The loss where each label is as likely as not, in nats."""
        return math.log(2)

    def blind(self, y_n: Truth) -> Outputs:
        """The log odds of each label."""
        odds: Outputs = special.logit((y_n.sum(0) + 0.5) / (len(y_n) + 1))[None].astype(np.float32)
        return odds

    def decide(self, outputs_no: Outputs) -> NDArray[np.bool_]:
        """The labels that are more likely than not."""
        return outputs_no > 0

    def truth(self, y_n: NDArray[Any]) -> NDArray[np.bool_]:
        """Which labels hold: bool."""
        return y_n.astype(np.bool_)

    def counts(self, y_n: Truth) -> list[int]:
        """Examples with each label."""
        found: list[int] = y_n.sum(0).tolist()
        return found

    def spelled(self, y: Any, names: Sequence[str]) -> str:
        """The labels that hold, or ``none``."""
        return ", ".join(name for name, holds in zip(names, y, strict=True) if holds) or "none"

    def strata(self, y_n: Truth) -> NDArray[np.int64]:
        """The rarest of an example's labels; all without a label are one group."""
        count_m = y_n.sum(0)
        rarity_nm = np.where(y_n, count_m, len(y_n) + 1)
        found: NDArray[np.int64] = np.where(y_n.any(1), rarity_nm.argmin(1), y_n.shape[1])
        return found


class ExampleF1(MeanOfExamples):
    """Mean over examples of F1 between the labels that are said and those that hold."""

    name, words, unit = "example_f1", "mean example F1", PERCENT

    def example_scores(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """F1 of each example; 1 where no label holds and none is said."""
        said = outputs_no > 0
        both, either = (said & y_n).sum(1), said.sum(1) + y_n.sum(1)
        return np.where(either > 0, 2 * both / np.maximum(either, 1), 1.0)


class MeanAveragePrecision(Ratio):
    """Mean over labels of average precision, of those that hold somewhere; torchmetrics' rule."""

    name, words, unit = "mean_average_precision", "mean average precision", PERCENT

    def value(self, outputs_no: Outputs, y_n: Truth) -> float:
        """Mean average precision, a share; 0 where no label holds. ValueError for no example."""
        some(y_n)
        there = y_n.any(0)
        found = [
            _precisions(z, true) / true.sum()
            for z, true in zip(outputs_no.T[there], y_n.T[there], strict=True)
        ]
        return float(np.mean(found)) if found else 0.0

    def without_each(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """From ranks: an example counts in the precision of those at or below its own."""
        total_n, labels_n = np.zeros(len(y_n)), np.zeros(len(y_n))
        for logit_n, true_n in zip(outputs_no.T, y_n.T, strict=True):
            left_n = int(true_n.sum()) - true_n
            there_n = left_n > 0
            if there_n.any():
                summed_n = _precisions_without_each(logit_n, true_n)
                total_n += np.where(there_n, summed_n / np.maximum(left_n, 1), 0.0)
                labels_n += there_n
        return np.where(labels_n > 0, total_n / np.maximum(labels_n, 1), 0.0)


def _precisions(logit_n: NDArray[np.float32], true_n: NDArray[np.bool_]) -> float:
    """Sum of the precisions at each true example. Examples with one logit come together."""
    _, group_n = np.unique(-logit_n, return_inverse=True)
    own_g = np.bincount(group_n, weights=true_n)
    return float((own_g * np.cumsum(own_g) / np.cumsum(np.bincount(group_n))).sum())


def _precisions_without_each(
    logit_n: NDArray[np.float32], true_n: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Sum of the precisions at each true example, when one example is left out, for each of them.

    Examples with one logit come together. With g groups from the highest logit down: true_g and
    rows_g up to a group, own_g true ones in it; a group adds own_g * true_g / rows_g.
    """
    _, group_n = np.unique(-logit_n, return_inverse=True)
    own_g = np.bincount(group_n, weights=true_n)
    true_g, rows_g = np.cumsum(own_g), np.cumsum(np.bincount(group_n))
    fewer_g = np.maximum(rows_g - 1, 1)
    above_g = np.concatenate([[0.0], np.cumsum(own_g * true_g / rows_g)[:-1]])
    below_g = _sum_of_later(own_g * true_g / fewer_g)
    each_g = _sum_of_later(own_g / fewer_g)
    found: NDArray[np.float64] = (
        above_g[group_n]
        + (own_g[group_n] - true_n) * (true_g[group_n] - true_n) / fewer_g[group_n]
        + below_g[group_n]
        - true_n * each_g[group_n]
    )
    return found


def _sum_of_later(values_g: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([np.cumsum(values_g[::-1])[::-1][1:], [0.0]])
