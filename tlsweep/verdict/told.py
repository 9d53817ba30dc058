"""What is told of tables of example scores: the metric in its own unit, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

from tlsweep.task.metric import Measure
from tlsweep.verdict.evidence import Table
from tlsweep.verdict.intervals import (
    Interval,
    accuracy_interval,
    difference_interval,
    mean_interval,
    model_interval,
)


@dataclass(frozen=True)
class Told:
    """Turns tables of example scores [replicates, examples] into what is told of them.

    confidence: of every interval.
    """

    measure: Measure
    confidence: float = 0.95

    def score(self, table_rn: Table) -> Interval:
        """The metric over seeds and examples."""
        if self.measure.right_or_wrong:
            return self._values(accuracy_interval(table_rn, self.confidence))
        return self._values(self._mean(table_rn))

    def model_score(self, score_n: Table) -> Interval:
        """The metric of one model."""
        if self.measure.right_or_wrong:
            return self._values(model_interval(score_n > 0, self.confidence))
        return self._values(self._mean(score_n[None]))

    def mean_score(self, score_n: Table) -> Interval:
        """The metric of examples that were answered several times. score_n: their mean scores."""
        return self._values(self._mean(score_n[None]))

    def difference(self, first_rn: Table, second_rn: Table) -> Interval:
        """How much better the first one is."""
        most = self.measure.high - self.measure.low
        return self.gain(difference_interval(first_rn, second_rn, self.confidence, most=most))

    def gain(self, found: Interval) -> Interval:
        """A difference of example scores in the metric's unit."""
        scale = self.measure.scale
        return Interval(scale * found.score, scale * found.low, scale * found.high)

    def _mean(self, table_rn: Table) -> Interval:
        low, high = self.measure.low, self.measure.high
        return mean_interval(table_rn, self.confidence, low=low, high=high)

    def _values(self, found: Interval) -> Interval:
        ends = self.measure.ends(found.low, found.high)
        return Interval(self.measure.value(found.score), *ends)
