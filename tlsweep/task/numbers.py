"""One number or several an example: squared loss, mean absolute error in the numbers' own unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tlsweep.task.base import Kind, Task
from tlsweep.task.metric import MeanOfExamples, Outputs, Ratio, Scores, Truth, some
from tlsweep.task.unit import SHARE, Unit

if TYPE_CHECKING:
    from torch import Tensor

STRATA = 10  # groups of like numbers, at most
LEAST_IN_STRATUM = 5
DIGITS = 3  # of a spread that are worth reading


class Numbers(Task):
    """``n_numbers`` numbers an example, counted in ``unit``.

    spread: what the numbers vary by (``spread_of``), so that the loss has no unit: a first word of
    it, since ``scaled_to`` takes that of the numbers that train and choose.
    Outputs and what is true: float [n, numbers], in the numbers' own unit.
    Raises ValueError for a spread that is not positive.

    >>> task = Numbers(1, spread=10.0, unit="degrees")
    >>> task.metric.unit.written(task.score(np.float32([[3], [5]]), np.array([[2.0], [8.0]])))
    '2.0 degrees'
    """

    kind: Kind = "numbers"
    probes = ("ridge",)
    blind_words = "mean"
    loss_name = "half_squared_error"  # in spreads
    floor = 0.001  # half of what is not explained of the variance: 0.2 %

    def __init__(
        self, n_numbers: int, *, spread: float, unit: str = "", metric: str | None = None
    ) -> None:
        after = f" {unit}" if unit else ""
        self.n_outputs, self.spread = n_numbers, spread
        self.unit = own = Unit(after=after, apart=after, digits=_digits(spread))
        self.metrics = (MeanAbsoluteError(own, spread), RootMeanSquaredError(own, spread), R2())
        self.metric = self.by(metric).metric

    def scaled_to(self, y_n: Truth) -> Self:
        """The same task of numbers that vary as these do."""
        found = copy(self)
        found.spread = spread_of(y_n)
        found.unit = replace(self.unit, digits=_digits(found.spread))
        found.metrics = tuple(
            type(m)(found.unit, found.spread) if isinstance(m, _OfErrors) else m
            for m in self.metrics
        )
        return found.by(self.metric.name)

    def losses(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """Half of the squared error in spreads, mean over the numbers."""
        error = (outputs_no.astype(np.float64) - y_n) / self.spread
        losses: Scores = 0.5 * np.square(error).mean(1)
        return losses

    def loss(self, outputs_bo: Tensor, y_b: Tensor) -> Tensor:
        """The mean of ``losses`` over a batch."""
        from torch.nn import functional

        error = (outputs_bo.float() - y_b.float()) / self.spread
        return 0.5 * functional.mse_loss(error, error.new_zeros(()).expand_as(error))

    def regressed(self, y_n: Truth) -> NDArray[np.float64]:
        """The numbers themselves."""
        return y_n

    @property
    def guess(self) -> float:
        """The loss where the mean is always said."""
        return 0.5

    @property
    def told(self) -> str:
        """``1 number``, ``3 numbers in mm``."""
        word = "number" if self.n_outputs == 1 else "numbers"
        unit = f" in{self.unit.after}" if self.unit.after else ""
        return f"{self.n_outputs} {word}{unit}"

    def blind(self, y_n: Truth) -> Outputs:
        """The mean of each number."""
        means: Outputs = y_n.mean(0, keepdims=True).astype(np.float32)
        return means

    def decide(self, outputs_no: Outputs) -> Outputs:
        """The numbers themselves."""
        return outputs_no

    def truth(self, y_n: NDArray[Any]) -> NDArray[np.float64]:
        """The numbers: float64."""
        return y_n.astype(np.float64)

    def spelled(self, y: Any, names: Sequence[str]) -> str:
        """The numbers, with their names where there are several."""
        written = [self.unit.written(float(number)) for number in y]
        if len(written) == 1:
            return written[0]
        return ", ".join(f"{name} {text}" for name, text in zip(names, written, strict=True))

    def strata(self, y_n: Truth) -> NDArray[np.int64]:
        """Groups of like numbers (the first of them), of equal size: by rank."""
        groups = max(1, min(STRATA, len(y_n) // LEAST_IN_STRATUM))
        order = np.argsort(y_n[:, 0], kind="stable")
        found = np.empty(len(y_n), dtype=np.int64)
        found[order] = np.arange(len(y_n)) * groups // max(1, len(y_n))
        return found


def spread_of(y_n: Truth) -> float:
    """What numbers vary by: their standard deviation, mean over the numbers of an example."""
    return float(np.std(y_n, axis=0).mean())


def _digits(spread: float) -> int:
    """Digits after the point that are worth reading. Raises ValueError for a spread of 0."""
    if not 0 < spread < math.inf:
        raise ValueError(f"spread {spread} of numbers is above 0")
    return max(0, DIGITS - 1 - math.floor(math.log10(spread)))


class _OfErrors:
    """Metrics in the numbers' own unit, where lower is better."""

    higher_is_better, low, high = False, -math.inf, 0.0

    def __init__(self, unit: Unit, spread: float) -> None:
        self.unit, self.scale = unit, spread


class MeanAbsoluteError(_OfErrors, MeanOfExamples):
    """Mean over examples, and over their numbers, of how far an answer is off."""

    name, words = "mae", "mean absolute error"

    def example_scores(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """Minus the absolute error in spreads, mean over the numbers."""
        scores: Scores = -np.abs(outputs_no.astype(np.float64) - y_n).mean(1) / self.scale
        return scores


class RootMeanSquaredError(_OfErrors, Ratio):
    """Root of the mean squared error, over examples and their numbers."""

    name, words = "rmse", "root mean squared error"

    def value(self, outputs_no: Outputs, y_n: Truth) -> float:
        """The error, in the numbers' unit. Raises ValueError for no example."""
        import torch
        from torchmetrics.functional.regression import mean_squared_error

        some(y_n)
        said, true = (
            torch.from_numpy(np.asarray(a, np.float64).ravel()) for a in (outputs_no, y_n)
        )
        return float(mean_squared_error(said, true, squared=False))

    def without_each(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """From the sum of squares."""
        squares_n = np.square(outputs_no.astype(np.float64) - y_n).mean(1)
        return np.sqrt(_without_each(squares_n) / max(1, len(y_n) - 1))


class R2(Ratio):
    """Share of the numbers' variance that is explained, mean over the numbers of an example."""

    name, words, unit = "r2", "R2", SHARE
    low = -math.inf

    def value(self, outputs_no: Outputs, y_n: Truth) -> float:
        """R2; 0 where there is no variance to explain. Raises ValueError for no example."""
        import torch
        from torchmetrics.functional.regression import r2_score

        some(y_n)
        if len(y_n) < 2 or not np.ptp(y_n, axis=0).all():
            return 0.0
        said, true = (torch.from_numpy(np.asarray(a, np.float64)) for a in (outputs_no, y_n))
        return float(r2_score(said, true))

    def without_each(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """From sums and sums of squares, about the mean of all so that little is lost."""
        n, centred = len(y_n), y_n - y_n.mean(0)
        missed_nm = _without_each(np.square(outputs_no.astype(np.float64) - y_n))
        sum_nm, squares_nm = _without_each(centred), _without_each(np.square(centred))
        varied_nm = squares_nm - np.square(sum_nm) / (n - 1)
        flat_n = (varied_nm <= 1e-12 * np.square(centred).sum(0)).any(1)
        found = 1 - missed_nm / np.where(varied_nm > 0, varied_nm, 1.0)
        return np.where(flat_n | (n < 3), 0.0, found.mean(1))


def _without_each(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum over all rows but one, for each row."""
    rest: NDArray[np.float64] = values.sum(0) - values
    return rest
