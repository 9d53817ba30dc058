"""Which plan to recommend. Looks at the select split only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from tlsweep.verdict.intervals import differences_from

Rule = Literal["smallest_not_worse", "one_standard_error", "best"]
ONE_STANDARD_ERROR = 0.6827  # the confidence of an interval of one standard error to both sides


class Candidate(Protocol):
    """A plan that was trained several times."""

    @property
    def select_hits(self) -> npt.NDArray[np.bool_]:
        """[replicates, images of the select split]"""

    @property
    def size(self) -> tuple[int, ...]:
        """What to be small in, the most important first."""


C = TypeVar("C", bound=Candidate)


def choose(candidates: Sequence[C], rule: Rule, confidence: float = 0.95) -> C:
    """The recommended one of ``candidates``.

    best: the highest accuracy. smallest_not_worse: the smallest of those that the best does not
    beat by more than the interval of their difference. one_standard_error: the same with an
    interval of one standard error (Breiman et al. 1984, section 3.4.3), which gives up less
    accuracy for a small prefix. Raises ValueError if there is no candidate.
    """
    if not candidates:
        raise ValueError("no candidate to choose from")
    best = max(candidates, key=lambda c: (float(c.select_hits.mean()), [-s for s in c.size]))
    if rule == "best":
        return best
    level = ONE_STANDARD_ERROR if rule == "one_standard_error" else confidence
    intervals = differences_from(best.select_hits, [c.select_hits for c in candidates], level)
    not_worse = [c for c, d in zip(candidates, intervals, strict=True) if c is best or d.low <= 0]
    return min(not_worse, key=lambda c: (c.size, -float(c.select_hits.mean())))
