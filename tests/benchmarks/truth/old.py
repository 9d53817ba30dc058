"""The rule that tlsweep had before: the smallest plan that the select split does not beat."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats


def smallest_not_worse(
    right_cn: npt.NDArray[np.bool_], confidence: float = 0.95
) -> tuple[int, int]:
    """The first plan that the best one does not beat on the select split, and the best one.

    right_cn: [plans, select images], the smallest plan first, the raw input among them; of the
    difference an interval over images alone, since no seed changes a frozen plan.
    """
    score_c, images = right_cn.mean(1), right_cn.shape[1]
    best = int(np.argmax(score_c))
    tail = float(stats.t.ppf((1 + confidence) / 2, images - 1))
    for plan, right_n in enumerate(right_cn):
        d_n = right_cn[best].astype(float) - right_n
        error = math.sqrt(max(float(d_n.var(ddof=1)) / images, (0.5 / images) ** 2))
        if float(d_n.mean()) - tail * error <= 0:
            return plan, best
    raise AssertionError("the best is not beaten by itself")
