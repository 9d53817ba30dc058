"""The target "digits": 1,797 handwritten digits, 8 x 8 grey, that come inside scikit-learn."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tlsweep.errors import Refusal
from tlsweep.section import TargetSettings
from tlsweep.target.arrays import ArrayTarget
from tlsweep.target.base import Progress
from tlsweep.target.limits import ram_faults


class Settings(TargetSettings):
    """conf/target/digits.yaml."""

    name: Literal["digits"]


def check(*, ram_gb: float = 4.0, progress: Progress | None = None) -> None:
    """Raise Refusal if ``ram_gb`` is not a positive number."""
    if faults := ram_faults(ram_gb):
        raise Refusal(*faults)


def open(  # noqa: A001  (always called as digits.open)
    *, ram_gb: float = 4.0, progress: Progress | None = None
) -> ArrayTarget:
    """Open real handwriting (UCI Optical Recognition of Handwritten Digits, the test set)."""
    check(ram_gb=ram_gb)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)  # ink is counted 0..16
    names = tuple(str(name) for name in bunch.target_names)
    return ArrayTarget("digits", names, images, bunch.target, ram_gb=ram_gb)
