"""A task of another package: classes in an order, of which a near miss is half right."""

from typing import Any, Literal

import numpy as np

from tlsweep.errors import Fault, Refusal
from tlsweep.section import TaskSettings
from tlsweep.task import Classes
from tlsweep.task.metric import MeanOfExamples
from tlsweep.task.unit import PERCENT


class Settings(TaskSettings):
    name: Literal["grades"]
    near: int


class NearMiss(MeanOfExamples):
    name, words, unit = "near_miss", "near misses counted half, accuracy", PERCENT

    def __init__(self, near: int) -> None:
        self.near = near

    def example_scores(self, outputs_no: Any, y_n: Any) -> Any:
        off = np.abs(outputs_no.argmax(1) - y_n)
        return np.where(off == 0, 1.0, np.where(off <= self.near, 0.5, 0.0))


def open(own: Any, *, near: int) -> Classes:
    if own.kind != "classes":
        raise Refusal(Fault("task=grades", "grades are classes", "task=own"))
    task = Classes(own.n_outputs)
    task.metrics = (NearMiss(near), *task.metrics)
    return task.by(None)
