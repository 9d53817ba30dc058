"""One class an example: logits, cross-entropy, accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from tlsweep.task.base import Kind, Task
from tlsweep.task.metric import MeanOfExamples, Outputs, Ratio, Scores, Truth, some
from tlsweep.task.unit import PERCENT, Unit

if TYPE_CHECKING:
    from torch import Tensor

TOP = 5
TINY = 1e-6  # examples of a class that has none
TOP_FROM = 10  # classes from which the five likeliest say something


class Classes(Task):
    """One class of ``n_classes`` an example.

    Outputs: logits [n, classes]; what is true: class indices int64 [n].

    >>> Classes(3).example_scores(np.float32([[2, 1, 0], [0, 1, 0]]), np.array([0, 2])).tolist()
    [1.0, 0.0]
    """

    kind: Kind = "classes"
    probes = ("logistic", "ridge")
    blind_words = "most frequent class"
    floor = 0.01  # nats

    def __init__(self, n_classes: int, metric: str | None = None) -> None:
        self.n_outputs = n_classes
        top = (TopFive(),) if n_classes >= TOP_FROM else ()
        self.metrics = (
            Accuracy(),
            BalancedAccuracy(),
            MacroF1(n_classes),
            LogLoss(self.guess),
            *top,
        )
        self.metric = self.by(metric).metric

    def losses(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """Minus the log probability that each example's class was given, in nats."""
        return _losses(outputs_no, y_n)

    def loss(self, outputs_bo: Tensor, y_b: Tensor) -> Tensor:
        """Mean cross-entropy, in nats, weighted by ``weights``."""
        from torch.nn import functional

        if self.weights is None:
            return functional.cross_entropy(outputs_bo, y_b)
        weight_b = outputs_bo.new_tensor(self.weights)[y_b]
        return (weight_b * functional.cross_entropy(outputs_bo, y_b, reduction="none")).mean()

    @property
    def can_be_weighted(self) -> bool:
        """Unless a task of another package has a loss of its own."""
        return type(self).loss is Classes.loss

    def balanced(self, y_n: Truth) -> Self:
        """Each class that is there counts the same in ``loss``; one that is not, 1 an example."""
        chosen, count_k = copy(self), np.bincount(y_n, minlength=self.n_outputs)
        there = np.count_nonzero(count_k)
        chosen.weights = np.where(count_k > 0, len(y_n) / (there * np.maximum(count_k, 1)), 1.0)
        return chosen

    def example_weights(self, y_n: Truth) -> NDArray[np.float64]:
        """That of each example's class."""
        return np.ones(len(y_n)) if self.weights is None else self.weights[y_n]

    def regressed(self, y_n: Truth) -> NDArray[np.float64]:
        """1 for the class, 0 for the others."""
        return np.eye(self.n_outputs)[y_n]

    @property
    def guess(self) -> float:
        """The loss where all classes are equally likely, in nats."""
        return math.log(self.n_outputs)

    def blind(self, y_n: Truth) -> Outputs:
        """The log of each class's share."""
        count_k = np.bincount(y_n, minlength=self.n_outputs)
        return np.log(np.maximum(count_k, TINY) / max(1, len(y_n)))[None].astype(np.float32)

    def decide(self, outputs_no: Outputs) -> NDArray[np.int64]:
        """The class with the largest logit, the first one of equals."""
        said: NDArray[np.int64] = outputs_no.argmax(1)
        return said

    def truth(self, y_n: NDArray[Any]) -> NDArray[np.int64]:
        """Class indices: int64."""
        return y_n.astype(np.int64)

    def counts(self, y_n: Truth) -> list[int]:
        """Examples of each class."""
        found: list[int] = np.bincount(y_n, minlength=self.n_outputs).tolist()
        return found

    def spelled(self, y: Any, names: Sequence[str]) -> str:
        """The name of its class."""
        return names[int(y)]

    def strata(self, y_n: Truth) -> NDArray[np.int64]:
        """The classes themselves."""
        return self.truth(y_n)


class Accuracy(MeanOfExamples):
    """Share of the examples whose class has the largest logit."""

    name, words, unit = "accuracy", "accuracy", PERCENT
    right_or_wrong = is_share_right = True

    def example_scores(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """1 where the largest logit is the class's, else 0."""
        right: Scores = (outputs_no.argmax(1) == y_n).astype(np.float64)
        return right


class BalancedAccuracy(MeanOfExamples):
    """Mean over classes of the accuracy on their examples."""

    name, words, unit = "balanced_accuracy", "balanced accuracy", PERCENT

    def example_scores(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """Accuracy, weighted so that each class that is there counts the same; mean weight 1.

        What an example's weighted score differs by from its class's goes to the mean of all: so the
        scores do not vary by how rare a class is, which says nothing of how well it is answered.
        Of few examples, differences from their own mean are too small (Bessel).
        """
        right_n = Accuracy().example_scores(outputs_no, y_n)
        _, place_n, count_c = np.unique(y_n, return_inverse=True, return_counts=True)
        accuracy_c = np.bincount(place_n, weights=right_n) / count_c
        unbiased_c = np.sqrt(count_c / np.maximum(count_c - 1, 1))
        weight_n = (len(y_n) / len(count_c) * unbiased_c / count_c)[place_n]
        scores: Scores = accuracy_c.mean() + weight_n * (right_n - accuracy_c[place_n])
        return scores


class MacroF1(Ratio):
    """Mean over classes of F1, as torchmetrics has it: of those that are true or said somewhere."""

    name, words, unit = "macro_f1", "macro F1", PERCENT

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes

    def value(self, outputs_no: Outputs, y_n: Truth) -> float:
        """Macro F1, a share. Raises ValueError for no example."""
        some(y_n)
        right_k, either_k = self._counts(outputs_no.argmax(1), y_n)
        return float(_f1(right_k, either_k).sum() / np.count_nonzero(either_k))

    def without_each(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """From counts: an example changes those of its class and of the one that is said."""
        said_n = outputs_no.argmax(1)
        right_k, either_k = self._counts(said_n, y_n)
        whole, classes = _f1(right_k, either_k).sum(), np.count_nonzero(either_k)
        hit_n, wrong_n = said_n == y_n, said_n != y_n
        total_n, classes_n = np.full(len(y_n), whole), np.full(len(y_n), float(classes))
        for own_n, counts_n, less_n in (
            (y_n, np.ones(len(y_n), dtype=bool), np.where(hit_n, 2.0, 1.0)),
            (said_n, wrong_n, np.ones(len(y_n))),
        ):
            right_n, either_n = right_k[own_n], either_k[own_n]
            after = _f1(right_n - hit_n, either_n - less_n)
            total_n += np.where(counts_n, after - _f1(right_n, either_n), 0.0)
            classes_n -= counts_n & (either_n == less_n)
        return np.where(classes_n > 0, total_n / np.maximum(classes_n, 1), 0.0)

    def _counts(self, said_n: Truth, y_n: Truth) -> tuple[Scores, Scores]:
        """Of each class how often it is said rightly, and true or said: F1 is 2 right / this."""
        k = self.n_classes
        right_k = np.bincount(y_n[said_n == y_n], minlength=k)
        either_k = np.bincount(y_n, minlength=k) + np.bincount(said_n, minlength=k)
        return right_k.astype(np.float64), either_k.astype(np.float64)


class LogLoss(MeanOfExamples):
    """Mean of minus the log probability that each example's class was given."""

    name, words = "log_loss", "log loss"
    unit = Unit(after=" nats", apart=" nats", digits=3)
    higher_is_better, low, high = False, -math.inf, 0.0

    def __init__(self, guess: float) -> None:
        self.scale = guess

    def example_scores(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """The log probability of the example's class, in losses of a guess."""
        return -_losses(outputs_no, y_n) / self.scale


class TopFive(MeanOfExamples):
    """Share of the examples whose class is among the five likeliest."""

    name, words, unit = "top5", "top-5 accuracy", PERCENT
    right_or_wrong = True

    def example_scores(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """1 where fewer than five classes have a larger logit, else 0."""
        own_n1 = np.take_along_axis(outputs_no, np.asarray(y_n)[:, None], axis=1)
        found: Scores = ((outputs_no > own_n1).sum(1) < TOP).astype(np.float64)
        return found


def _losses(logits_nk: Outputs, y_n: Truth) -> Scores:
    whole = log_softmax(logits_nk.astype(np.float64), axis=1)
    losses: Scores = -whole[np.arange(len(y_n)), y_n]
    return losses


def _f1(right: NDArray[np.float64], either: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(either > 0, 2 * right / np.maximum(either, 1), 0.0)
