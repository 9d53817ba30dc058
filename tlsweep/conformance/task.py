"""What every task promises."""

from __future__ import annotations

import itertools
import math

import numpy as np

from tlsweep.conformance.component import ComponentSuite
from tlsweep.errors import Refusal
from tlsweep.registry import component
from tlsweep.task import Metric, Outputs, Task, Truth
from tlsweep.task.metric import Ratio

N = 300  # examples; a ratio's pseudo-values keep a bias of the order of one over this
CLEAR = 4.0  # a logit of a clear answer


class TaskSuite(ComponentSuite):
    """One task, as it is asked of a target.

    own: the target's own task, which stands for its examples.

    >>> from tlsweep.task import Classes
    >>> class TestMyTask(TaskSuite):
    ...     name, options, own = "my_task", {"near": 2}, Classes(5)
    """

    kind = "task"
    asked_of = {"open": ("own",)}  # noqa: RUF012
    name = "own"
    own: Task

    @property
    def task(self) -> Task:
        """What is asked."""
        opened: Task = component("task", self.name).open(self.own, **self.given())
        return opened

    def drawn(self, n: int = N, seed: int = 0) -> Truth:
        """What might be true of ``n`` examples, as the target has it."""
        draw, m = np.random.default_rng(seed), self.own.n_outputs
        if self.own.kind == "classes":
            return draw.integers(0, m, n)
        if self.own.kind == "labels":
            return draw.random((n, m)) < 0.3
        spread: float = getattr(self.own, "spread", 1.0)
        return draw.normal(3 * spread, spread, (n, m))

    def truths(self, n: int = N, seed: int = 0) -> Truth:
        """The same, as the task has it."""
        return self.task.truth(self.drawn(n, seed))

    def right(self, y_n: Truth) -> Outputs:
        """Outputs that say what is true, clearly."""
        true_no = self.task.regressed(y_n)
        said = true_no if self.task.kind == "numbers" else CLEAR * (2 * true_no - 1)
        return said.astype(np.float32)

    def answers(self, y_n: Truth, seed: int = 0) -> Outputs:
        """Outputs of a model that knows something, some right and some not, with ties."""
        right = self.right(y_n)
        noise = np.random.default_rng(seed).normal(size=right.shape)
        size = 0.5 * max(1e-6, float(right.std())) if self.task.kind == "numbers" else CLEAR
        return np.round(right + size * noise, 1).astype(np.float32)

    # ------------------------------------------------------------------ scores
    def test_example_scores_are_one_number_each_whose_mean_is_the_metric(self) -> None:
        y = self.truths()
        outputs = self.answers(y)
        for metric in self.task.metrics:
            scores, value = metric.example_scores(outputs, y), metric.value(outputs, y)
            assert scores.shape == (N,), metric.name
            assert scores.dtype == np.float64, metric.name
            told = metric.measure("", "images")
            near = 0.05 if isinstance(metric, Ratio) else 1e-6  # pseudo-values: all but the bias
            assert abs(told.value(float(scores.mean())) - value) <= near * abs(value), metric.name
            assert abs(told.score(told.value(0.7)) - 0.7) < 1e-9, metric.name
            assert told.ends(0.1, 0.2) == sorted(map(told.value, (0.1, 0.2))), metric.name
            assert metric.low <= scores.mean() <= metric.high + 0.05, metric.name

    def test_scores_are_higher_for_better_answers(self) -> None:
        y = self.truths()
        right, answers, blind = self.right(y), self.answers(y), self._blind(y)
        for metric in self.task.metrics:
            best, some, none = (_mean(metric, z, y) for z in (right, answers, blind))
            assert best >= some > none - 1e-9, metric.name
            assert best > none, metric.name

    def test_a_ratio_without_each_example_is_what_it_is_on_the_others(self) -> None:
        for n, seed in itertools.product((2, 3, 7, 40), range(3)):
            y = self.truths(n, seed)
            outputs = self.answers(y, seed)
            for metric in (m for m in self.task.metrics if isinstance(m, Ratio)):
                others = [np.arange(n) != i for i in range(n)]
                wanted = [metric.value(outputs[rows], y[rows]) for rows in others]
                found = metric.without_each(outputs, y)
                assert np.allclose(found, wanted, rtol=1e-6, atol=2e-6), (metric.name, n)

    def test_one_example_has_a_score_and_none_is_an_error(self) -> None:
        y = self.truths(1)
        outputs = self.answers(y)
        for metric in self.task.metrics:
            assert np.isfinite(metric.example_scores(outputs, y)).all(), metric.name
            assert _is_refused(metric, outputs[:0], y[:0]), metric.name

    def test_plans_are_chosen_by_any_of_its_metrics_and_by_no_other(self) -> None:
        task, names = self.task, [metric.name for metric in self.task.metrics]
        assert len({*names}) == len(names) > 0
        assert task.by(None).metric is task.metrics[0]
        for name in names:
            assert task.by(name).metric.name == name
        refused = ""
        try:
            task.by("no such metric")
        except Refusal as refusal:
            refused = str(refusal)
        assert all(name in refused for name in names), "a metric that there is not was taken"

    # ------------------------------------------------------------------ losses
    def test_what_is_trained_on_is_the_mean_of_the_examples_losses(self) -> None:
        import torch

        task, y = self.task, self.truths(50)
        outputs = self.answers(y)
        outputs_bo = torch.from_numpy(outputs).requires_grad_()
        loss = task.loss(outputs_bo, torch.from_numpy(y))
        loss.backward()  # type: ignore[no-untyped-call]
        losses = task.losses(outputs, y)
        assert losses.shape == (50,)
        assert losses.dtype == np.float64
        assert abs(float(loss.detach()) - losses.mean()) <= 1e-5 * abs(losses.mean())
        assert outputs_bo.grad is not None
        assert float(outputs_bo.grad.abs().sum()) > 0

    def test_losses_of_outputs_far_out_are_finite(self) -> None:
        y = self.truths(50)
        assert np.isfinite(self.task.losses(1e4 * self.answers(y), y)).all()

    def test_no_answer_without_looking_has_a_lower_loss_than_the_blind_one(self) -> None:
        task, y = self.task, self.truths()
        blind = task.blind(y)
        assert blind.shape == (1, task.n_outputs)
        assert blind.dtype == np.float32
        best, size = task.losses(self._blind(y), y).mean(), max(1.0, float(np.abs(blind).max()))
        for seed in range(10):
            other = blind + np.random.default_rng(seed).normal(0, 0.3 * size, blind.shape)
            loss = task.losses(np.repeat(other.astype(np.float32), len(y), axis=0), y).mean()
            assert best <= loss + 1e-4  # odds of labels are drawn in a little

    def test_the_truth_has_a_lower_loss_than_the_blind_answer_and_that_than_a_guess(self) -> None:
        task, y = self.task, self.truths()
        right, blind = (task.losses(z, y).mean() for z in (self.right(y), self._blind(y)))
        assert right < blind <= 1.2 * task.guess
        assert task.floor < task.guess

    def test_linear_heads_that_fit_it_are_fitted_to_numbers_of_its_outputs(self) -> None:
        task, y = self.task, self.truths(50)
        outputs = self.answers(y)
        assert task.regressed(y).shape == outputs.shape == (50, task.n_outputs)
        assert task.probes
        for kind in task.probes:
            losses = task.probe_losses(kind, outputs, y)
            squares = 0.5 * ((outputs - task.regressed(y)) ** 2).sum(1)
            wanted = squares if kind == "ridge" else task.losses(outputs, y)
            assert np.allclose(losses, wanted, rtol=1e-6), kind

    # ------------------------------------------------------------------ what is true
    def test_what_clear_outputs_say_is_what_is_true(self) -> None:
        y = self.truths()
        said = self.task.decide(self.right(y))
        assert said.shape == y.shape
        assert np.allclose(said, y, rtol=1e-6)

    def test_the_truth_has_its_type_whatever_it_came_in(self) -> None:
        task, came = self.task, self.drawn()
        kinds = {"classes": np.int64, "labels": np.bool_, "numbers": np.float64}
        shape = (N,) if task.kind == "classes" else (N, task.n_outputs)
        for y in (task.truth(came), task.truth(came.astype(np.float32))):
            assert y.dtype == kinds[task.kind]
            assert y.shape == shape
            assert np.allclose(y, self.truths(), rtol=1e-6)

    def test_unlike_truths_are_told_in_unlike_words(self) -> None:
        y, names = self.truths(), [f"name{i}" for i in range(self.task.n_outputs)]
        unlike = next(row for row in y if not np.array_equal(row, y[0]))
        one, other = (self.task.spelled(row, names) for row in (y[0], unlike))
        assert one
        assert other
        assert one != other

    def test_labels_that_it_is_scaled_to_change_no_answer_and_no_value(self) -> None:
        y = self.truths()
        outputs = self.answers(y)
        scaled = self.task.scaled_to(y)
        assert (scaled.kind, scaled.n_outputs) == (self.task.kind, self.task.n_outputs)
        assert scaled.measure.name == self.task.measure.name
        assert scaled.things == self.task.things
        assert np.array_equal(scaled.decide(outputs), self.task.decide(outputs))
        for own, other in zip(self.task.metrics, scaled.metrics, strict=True):
            assert other.name == own.name
            assert math.isclose(own.value(outputs, y), other.value(outputs, y), rel_tol=1e-6)

    def test_every_example_has_a_stratum(self) -> None:
        for n in (1, 7, N):
            strata = self.task.strata(self.truths(n))
            assert strata.dtype == np.int64
            assert strata.shape == (n,)
            assert strata.min() >= 0

    def _blind(self, y_n: Truth) -> Outputs:
        return np.repeat(self.task.blind(y_n), len(y_n), axis=0)


def _mean(metric: Metric, outputs_no: Outputs, y_n: Truth) -> float:
    return float(metric.example_scores(outputs_no, y_n).mean())


def _is_refused(metric: Metric, outputs_no: Outputs, y_n: Truth) -> bool:
    try:
        metric.value(outputs_no, y_n)
    except ValueError:
        return True
    return False
