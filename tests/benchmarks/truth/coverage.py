"""How often quoted intervals of every metric hold what a model scores on endless examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from table import Table

from tlsweep.task import Classes, Labels, Numbers, Outputs, Task, Truth
from tlsweep.verdict import Interval
from tlsweep.verdict.told import Told

Say = Callable[[str], None]
Rng = np.random.Generator
Scores = npt.NDArray[np.float64]
Answers = tuple[list[Outputs], Truth]  # two models answer the same examples
Drawn = Callable[[Rng, int], Answers]

SIZES = (30, 50, 100, 300)
ENDLESS = 400_000
MANY = 10  # times as wide: where Student's interval is next to nothing


@dataclass(frozen=True)
class Case:
    """What is drawn: ``drawn`` gives answers of two models; the second one is a little worse."""

    name: str
    task: Task
    drawn: Drawn


def coverage(samples: int, say: Say) -> list[Table]:
    """Of one model's score, and of the difference of two."""
    scores: list[list[str]] = []
    differences: list[list[str]] = []
    for case in cases():
        of_one, of_two = [case.name], [case.name]
        rng = np.random.default_rng([5, len(scores)])
        said, y = case.drawn(rng, ENDLESS)
        truth = [case.task.score(one, y) for one in said]
        for n in SIZES:
            say(f"coverage: {case.name}, {n} examples")
            found = [_intervals(case, *case.drawn(rng, n)) for _ in range(samples)]
            of_one.append(_cell([(plain, own) for plain, own, _ in found], truth[0]))
            gain = truth[0] - truth[1] if case.task.metric.higher_is_better else truth[1] - truth[0]
            held = np.mean([d.low <= gain <= d.high for _, _, d in found])
            of_two.append(f"{100 * held:.1f}")
        scores.append(of_one)
        differences.append(of_two)
    columns = ("report examples", *map(str, SIZES))
    about = f"{samples} samples a cell; %, at a nominal 95."
    notes = [
        f"{about} Student's interval on the example scores / the quoted one (how many times as wide"
        " as Student's, by the median)."
    ]
    return [
        Table("Coverage: the score of one model", columns, scores, notes),
        Table("Coverage: the difference of two models", columns, differences, [about]),
    ]


def cases() -> list[Case]:
    """Numbers with errors of several tails; classes and labels that are hard, and easy."""
    errors: dict[str, Callable[[Rng, int], Scores]] = {
        "normal errors": lambda rng, n: rng.normal(size=(n, 1)),
        "Laplace errors": lambda rng, n: rng.laplace(size=(n, 1)),
        "Student's errors, 5": lambda rng, n: rng.standard_t(5, (n, 1)),
    }
    found = [
        Case(f"{metric}, {name}", Numbers(1, spread=1.0, metric=metric), _numbers(error))
        for metric in ("mae", "rmse", "r2")
        for name, error in errors.items()
    ]
    for metric in ("macro_f1", "balanced_accuracy", "log_loss"):
        found.append(Case(f"{metric}, one of 3 rare", Classes(3, metric), _three))
        found.append(Case(f"{metric}, ten, easy", Classes(10, metric), _ten))
    for metric in ("mean_average_precision", "example_f1"):
        found.append(Case(f"{metric}, hard", Labels(4, metric), _labels(1.0)))
        found.append(Case(f"{metric}, easy", Labels(4, metric), _labels(2.5)))
    return found


def _numbers(error: Callable[[Rng, int], Scores]) -> Drawn:
    def drawn(rng: Rng, n: int) -> Answers:
        y, shared, own = rng.normal(size=(n, 1)), error(rng, n), error(rng, n)
        said = [y + 0.4 * shared, y + 0.4 * (shared + 0.5 * own)]
        return [one.astype(np.float32) for one in said], y

    return drawn


def _three(rng: Rng, n: int) -> Answers:
    return _classes(rng, rng.choice(3, n, p=[0.6, 0.3, 0.1]), 3, 1.5)


def _ten(rng: Rng, n: int) -> Answers:
    return _classes(rng, rng.choice(10, n), 10, 3.5)


def _classes(rng: Rng, y_n: npt.NDArray[np.int64], k: int, far: float) -> Answers:
    logits = rng.normal(size=(len(y_n), k)) + far * np.eye(k)[y_n]
    return _with_a_worse_one(rng, logits), y_n


def _labels(far: float) -> Drawn:
    def drawn(rng: Rng, n: int) -> Answers:
        y = rng.random((n, 4)) < 0.3
        return _with_a_worse_one(rng, rng.normal(size=y.shape) + far * (2 * y - 1)), y

    return drawn


def _with_a_worse_one(rng: Rng, logits: Scores) -> list[Outputs]:
    worse = logits + 0.5 * rng.normal(size=logits.shape)
    return [logits.astype(np.float32), worse.astype(np.float32)]


def _intervals(case: Case, said: list[Outputs], y: Truth) -> tuple[Interval, Interval, Interval]:
    """Student's and the quoted one of the first model, and what is quoted of the difference."""
    first, second = (case.task.example_scores(one, y) for one in said)
    measure, told = case.task.measure, Told(case.task.measure)
    half = stats.t.ppf(0.975, len(first) - 1) * first.std(ddof=1) / np.sqrt(len(first))
    ends = measure.ends(first.mean() - half, first.mean() + half)
    plain = Interval(measure.value(first.mean()), *ends)
    return plain, told.model_score(first), told.difference(first[None], second[None])


def _cell(found: list[tuple[Interval, Interval]], truth: float) -> str:
    ways = list(zip(*found, strict=True))
    held = [100 * np.mean([i.low <= truth <= i.high for i in way]) for way in ways]
    plain, quoted = (float(np.median([i.high - i.low for i in way])) for way in ways)
    wider = f"x {quoted / plain:.2f}" if quoted < MANY * plain else f"over x {MANY}"
    return f"{held[0]:.1f} / {held[1]:.1f} ({wider})"
