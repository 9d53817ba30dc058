"""A plan and what it was seen to score, example by example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tried:
    """A plan with its example scores.

    facts: as a trial notes them (plan, freeze, keep, regrow, names, cost); overrides: what to write
    for just this plan; controls: the control names that it answers to; candidate: whether it may be
    recommended; fold_r: the fold that each replicate held out; scores_rn, losses_rn: example scores
    (1 right, 0 wrong) and log losses [replicates, examples of the pool], NaN where a replicate did
    not score; report_rn: example scores [seeds, report images] of the final trainings, None where
    there were none; settled: whether all its trainings ended because their loss had settled.
    """

    facts: Mapping[str, Any]
    overrides: tuple[str, ...]
    controls: tuple[str, ...]
    candidate: bool
    fold_r: npt.NDArray[np.int64]
    scores_rn: Table
    losses_rn: Table
    report_rn: Table | None = None
    settled: bool = True

    @property
    def score(self) -> float:
        """Accuracy out of fold, over all that was scored."""
        return float(np.nanmean(self.scores_rn))

    @property
    def cost(self) -> tuple[float, float]:
        """FLOPs of a forward pass, then parameters trained: what using and training it costs."""
        return float(self.facts["flops"]), float(self.facts["trained_parameters"])

    @property
    def kind(self) -> str:
        """Plans of one kind vary alike over seeds: frozen, tuned, fresh or random."""
        f = self.facts
        if f["random_weights"]:
            return "random"
        if f["deterministic"]:
            return "frozen"
        return "fresh" if f["regrow"] > f["keep"] else "tuned"
