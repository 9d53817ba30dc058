"""What is asked of each example. Pure: torch is loaded where something is trained or fitted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Refusal, unknown_name
from tlsweep.task.metric import Beside, Measure, Metric, Outputs, Scores, Truth

if TYPE_CHECKING:
    from torch import Tensor


Kind = Literal["classes", "labels", "numbers"]


class Task(ABC):
    """Classes, labels or numbers: outputs, loss, decision, scores, strata, head.

    kind: its name; metrics: the ways to say how good answers are, the usual one first; metric: the
    one that plans are chosen by; n_outputs: width of the head's last layer; probes: the linear
    heads that fit it, the usual one first; blind_words: what always giving one answer is called;
    floor: a training loss below it has little left to learn; loss_name: what records call what
    training minimises; things: what examples are called; weights: what each class counts in
    ``loss``, None for all the same.
    """

    kind: Kind
    metrics: tuple[Metric, ...]
    n_outputs: int
    probes: tuple[str, ...]
    blind_words: str
    floor: float
    loss_name: str = "log_loss"
    weights: NDArray[np.float64] | None = None

    metric: Metric
    things: str = "images"

    def of(self, things: str) -> Self:
        """The same task of other examples. things: what they are called, all together."""
        chosen = copy(self)
        chosen.things = things
        return chosen

    def by(self, metric: str | None) -> Self:
        """The same task with plans chosen by the metric of this name; None: by the usual one.

        Raises Refusal for a name that is none of ``metrics``.
        """
        by_name = {m.name: m for m in self.metrics}
        if metric is not None and metric not in by_name:
            raise Refusal(unknown_name("metric", "target.metric", metric, by_name))
        chosen = copy(self)
        chosen.metric = self.metrics[0] if metric is None else by_name[metric]
        return chosen

    def scaled_to(self, y_n: Truth) -> Self:
        """The same task, with whatever it takes from labels taken from these alone.

        They are the pool's: what trains and chooses knows nothing of the report split. Raises
        ValueError where nothing can be learned from them.
        """
        return self

    @property
    def can_be_weighted(self) -> bool:
        """Whether ``balanced`` and ``example_weights`` say something: not of numbers."""
        return False

    def balanced(self, y_n: Truth) -> Self:
        """The same task, in whose loss each class of these examples counts as much as any other.

        An example counts n / (classes x examples of its class), as scikit-learn has it; of labels
        each one that holds or does not is a class. The mean weight is 1.
        """
        raise NotImplementedError(f"{self.kind} are not weighted")

    def example_weights(self, y_n: Truth) -> NDArray[np.float64]:
        """What each example counts in ``loss``: [n]; of labels, each of its labels: [n, m]."""
        return np.ones(len(y_n))

    def beside(self, outputs_no: Outputs, y_n: Truth) -> list[Beside]:
        """What the other metrics say of the same answers."""
        found = []
        for metric in self.metrics:
            if metric is not self.metric:
                value = metric.value(outputs_no, y_n)
                found.append(Beside(metric.name, metric.words, value, metric.unit.written(value)))
        return found

    @property
    def measure(self) -> Measure:
        """What is told of the chosen metric."""
        return self.metric.measure(self.blind_words, self.things)

    def example_scores(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """The score of each example by the chosen metric, higher is better: float64 [n]."""
        return self.metric.example_scores(outputs_no, y_n)

    def score(self, outputs_no: Outputs, y_n: Truth) -> float:
        """The chosen metric over all examples, in its own sign."""
        return self.metric.value(outputs_no, y_n)

    @abstractmethod
    def losses(self, outputs_no: Outputs, y_n: Truth) -> Scores:
        """What training minimises, of each example: float64 [n]. Breaks ties between plans."""

    @abstractmethod
    def loss(self, outputs_bo: Tensor, y_b: Tensor) -> Tensor:
        """The mean of ``losses`` over a batch, for training: a scalar with a graph."""

    @abstractmethod
    def regressed(self, y_n: Truth) -> NDArray[np.float64]:
        """What is true as numbers that a least-squares head is fitted to: [n, outputs]."""

    def probe_losses(self, kind: str, outputs_no: Outputs, y_n: Truth) -> Scores:
        """What a linear head of this kind minimises, of each example: float64 [n]."""
        if kind != "ridge":
            return self.losses(outputs_no, y_n)
        error_no = outputs_no.astype(np.float64) - self.regressed(y_n)
        losses: Scores = 0.5 * np.square(error_no).sum(1)
        return losses

    @property
    @abstractmethod
    def guess(self) -> float:
        """The loss of an answer that knows nothing of the example."""

    @abstractmethod
    def blind(self, y_n: Truth) -> Outputs:
        """The outputs of always giving the answer that suits these examples best: [1, outputs]."""

    @abstractmethod
    def decide(self, outputs_no: Outputs) -> Truth:
        """What outputs say: class indices [n], labels [n, m], numbers [n, m]."""

    @abstractmethod
    def truth(self, y_n: NDArray[Any]) -> Truth:
        """What is true, in the type that this task has it in: of numbers of any type."""

    @abstractmethod
    def spelled(self, y: Any, names: Sequence[str]) -> str:
        """What is true of one example, in words. names: of the outputs."""

    @property
    def told(self) -> str:
        """What is asked, in a word or two: ``10 classes``."""
        return f"{self.n_outputs} {self.kind}"

    def counts(self, y_n: Truth) -> list[int] | None:
        """Examples of each class or label; None of numbers."""
        return None

    @abstractmethod
    def strata(self, y_n: Truth) -> NDArray[np.int64]:
        """The group of each example that splits share out evenly: int64 [n]."""
