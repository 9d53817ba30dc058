"""A target of another package: stripes of some width, and a report split told by a seed."""

from typing import Any, Literal

import numpy as np

from tlsweep.section import TargetSettings
from tlsweep.target.arrays import ArrayTarget
from tlsweep.task import Classes, Labels, Numbers
from tlsweep.terms import Split

IMAGES, REPORT = 120, 40
TASKS = {"classes": Classes(3), "labels": Labels(3), "numbers": Numbers(1, spread=1.0)}


class Settings(TargetSettings):
    name: Literal["told"]
    asks: Literal["classes", "labels", "numbers"]
    report: int


def check(**options: Any) -> None: ...
def open(*, asks: str, report: int, progress: Any = None) -> ArrayTarget:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (IMAGES, 8, 8), dtype=np.uint8)
    bright_n = images[:, :2].mean((1, 2))
    labels = _labels(asks, bright_n + draw.normal(0, 5, IMAGES))
    quoted = np.arange(IMAGES - REPORT, IMAGES)
    if report:  # other labels, of which nothing but the report split may know
        labels[quoted] = _labels(asks, 1000 * np.random.default_rng(report).normal(size=REPORT))
    return ArrayTarget(
        f"told_{asks}", ("a", "b", "c")[: TASKS[asks].n_outputs], images, labels,
        {Split.REPORT: quoted}, task=TASKS[asks],
    )  # fmt: skip


def _labels(asks: str, numbers_n: Any) -> Any:
    rank_n = numbers_n.argsort().argsort()
    return {
        "classes": rank_n % 3,
        "labels": rank_n[:, None] % np.array([2, 3, 5]) == 0,
        "numbers": numbers_n[:, None],
    }[asks]
