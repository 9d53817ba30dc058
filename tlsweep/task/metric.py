"""How good answers are: one number for each example, and one for all of them.

A verdict compares plans example by example, so that each metric gives every example a score, higher
is better, whose mean is the metric. For a mean of examples that is so by itself. A ratio (macro F1,
R2) is not a mean: there an example's score is its jackknife pseudo-value, n times the metric less
n - 1 times the metric without the example (Tukey 1958, "Bias and confidence in not quite large
samples"). Their mean is the metric with most of its bias taken off, and their variance over n is
the variance of the metric.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlsweep.task.unit import Unit

Outputs = NDArray[np.float32]
"""What a model gives, [examples, outputs]: logits, or numbers."""
Truth = NDArray[Any]
"""What is true: int64 [n] classes, bool [n, m] labels, float64 [n, m] numbers."""
Scores = NDArray[np.float64]
"""Of each example, [n], higher is better."""


@dataclass(frozen=True)
class Measure:
    """A metric as it is told of: values alone. Attributes as of ``Metric``.

    blind: what the answer that does not look at an example is called; things: what its examples
    are called, all together.
    """

    name: str
    words: str
    unit: Unit
    higher_is_better: bool
    scale: float
    low: float
    high: float
    right_or_wrong: bool
    blind: str
    things: str
    is_share_right: bool

    @property
    def thing(self) -> str:
        """One of the examples."""
        return self.things.removesuffix("s")

    def value(self, score: float) -> float:
        """A mean of example scores as the metric's own value."""
        return self.scale * score if self.higher_is_better else -self.scale * score

    def score(self, value: float) -> float:
        """The metric's own value as a mean of example scores."""
        return value / self.scale if self.higher_is_better else -value / self.scale

    def ends(self, low: float, high: float) -> list[float]:
        """The ends of an interval of mean scores as values, the smaller one first."""
        return sorted((self.value(low), self.value(high)))


@dataclass(frozen=True)
class Beside:
    """A score by another metric than the one that plans are chosen by. written: with its unit."""

    name: str
    words: str
    value: float
    written: str


class Metric(ABC):
    """One way to say how good answers are.

    name: what ``target.metric`` calls it; words: what people call it; unit: of its value;
    higher_is_better: of its value (an example's score is always better if higher); scale: the value
    that a score of 1 stands for, so that scores of all metrics are of one size: 0.02 is little;
    low, high: what the mean of scores lies between; right_or_wrong: whether each score is 0 or 1;
    is_share_right: whether its value is the share of examples that are answered rightly.
    """

    name: str
    words: str
    unit: Unit
    higher_is_better: bool = True
    scale: float = 1.0
    low: float = 0.0
    high: float = 1.0
    right_or_wrong: bool = False
    is_share_right: bool = False

    @abstractmethod
    def value(self, outputs_no: Outputs, y_n: Truth) -> float:
        """The metric over all examples, in its own sign. Raises ValueError for none."""

    @abstractmethod
    def example_scores(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """The score of each example; their mean times the scale is the value, or its negative.

        Exact for a mean of examples, without its first-order bias for a ratio.
        """

    def measure(self, blind: str, things: str) -> Measure:
        """What is told of it. Arguments as of ``Measure``."""
        fields = [f for f in Measure.__dataclass_fields__ if f not in ("blind", "things")]
        own: dict[str, Any] = {name: getattr(self, name) for name in fields}
        return Measure(**own, blind=blind, things=things)


class MeanOfExamples(Metric):
    """A metric that is the mean of what each example scores by itself."""

    def value(self, outputs_no: Outputs, y_n: Truth) -> float:
        """The mean, in the metric's own sign."""
        some(y_n)
        mean = float(self.example_scores(outputs_no, y_n).mean())
        return self.scale * mean if self.higher_is_better else -self.scale * mean


class Ratio(Metric):
    """A metric of all examples together."""

    @abstractmethod
    def without_each(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """The metric's value over all examples but one, for each of them."""

    def example_scores(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """Jackknife pseudo-values. One example alone scores what the metric gives it."""
        n = len(y_n)
        whole = np.full(n, self.value(outputs_no, y_n))
        if n > 1:
            whole = n * whole - (n - 1) * self.without_each(outputs_no, y_n)
        return (whole if self.higher_is_better else -whole) / self.scale


def some(y_n: Truth) -> None:
    """Raise ValueError where there is no example."""
    if not len(y_n):
        raise ValueError("a metric of no example")
