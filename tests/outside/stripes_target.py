"""A target of another package: which way stripes run."""

from typing import Any, Literal

import numpy as np

from tlsweep.section import TargetSettings
from tlsweep.target.arrays import ArrayTarget


class Settings(TargetSettings):
    name: Literal["stripes"]
    images: int


def check(*, images: int, progress: Any = None) -> None: ...
def open(*, images: int, progress: Any = None) -> ArrayTarget:
    draw = np.random.default_rng(0)
    across = np.tile(draw.integers(0, 256, (images, 16, 1), dtype=np.uint8), (1, 1, 16))
    labels = np.arange(images) % 2
    found = np.where(labels[:, None, None] == 0, across, across.transpose(0, 2, 1))
    return ArrayTarget("stripes", ("across", "down"), found, labels)
