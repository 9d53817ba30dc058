"""A target of another package, of any kind: the labels of its report split are told by a seed."""

from typing import Any, Literal

import numpy as np

from tlsweep.section import TargetSettings
from tlsweep.target.arrays import ArrayTarget
from tlsweep.task import Classes, Labels, Numbers
from tlsweep.terms import Split

TASKS = {"classes": Classes(3), "labels": Labels(3), "numbers": Numbers(1, spread=1.0)}


class Settings(TargetSettings):
    name: Literal["told"]
    asks: Literal["classes", "labels", "numbers"]
    report: int


def check(*, asks: str, report: int, progress: Any = None) -> None: ...
def open(*, asks: str, report: int, progress: Any = None) -> ArrayTarget:
    images = np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8)
    numbers, quoted = images[:, :2].mean((1, 2)), np.arange(80, 120)
    if report:
        numbers[quoted] = 1000 * np.random.default_rng(report).normal(size=len(quoted))
    whole, task, parts = numbers.astype(int)[:, None], TASKS[asks], {Split.REPORT: quoted}
    found = {"classes": whole[:, 0] % 3, "labels": whole % [2, 3, 5] == 0}
    names, labels = ("a", "b", "c")[: task.n_outputs], found.get(asks, numbers[:, None])
    return ArrayTarget(f"told_{asks}", names, images, labels, parts, task=task)
