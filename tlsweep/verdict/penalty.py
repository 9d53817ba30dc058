"""Which penalty a frozen plan's head gets, chosen without the examples that it is scored on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tlsweep.verdict.evidence import Table

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True)
class Nested:
    """What a head answers when its penalty is chosen without the examples that it answers.

    scores_n, losses_n: [examples], each at the penalty that the other folds chose; chosen: that of
    each fold, in the order of the folds; overall: chosen on all examples, for the refit; edge:
    whether it is the smallest or the largest that was tried.
    """

    scores_n: Table
    losses_n: Table
    chosen: tuple[float, ...]
    overall: float
    edge: bool


def nested_penalty(
    penalties: Sequence[float],
    scores_pn: Table,
    losses_pn: Table,
    fold_n: npt.NDArray[np.int64],
) -> Nested:
    """Each fold's scores at the penalty of least log loss on the other folds.

    scores_pn, losses_pn: [penalties, examples], every example answered by heads that were not
    fitted to it; fold_n: its fold. Picked on the same scores that it is judged by, a penalty makes
    a plan look better than it is. One holdout is halved: each half is scored at the penalty that
    the other chose. By the loss and not the score: scores of many penalties are equal, and chance
    decides between them (tests/benchmarks/truth.md). Of equals the largest penalty.

    Raises ValueError for tables that do not fit together, or fewer than two examples.
    """
    shape = (len(penalties), len(fold_n))
    if scores_pn.shape != shape or losses_pn.shape != shape or shape[1] < 2:
        raise ValueError(
            f"scores {scores_pn.shape} and losses {losses_pn.shape} are not {shape}:"
            " [penalties, examples], of two examples or more"
        )
    if len(np.unique(fold_n)) == 1:
        fold_n = np.arange(shape[1]) % 2
    places = []
    scores_n, losses_n = np.empty(shape[1]), np.empty(shape[1])
    for fold in np.unique(fold_n):
        held = fold_n == fold
        place = _least(penalties, losses_pn[:, ~held])
        scores_n[held], losses_n[held] = scores_pn[place, held], losses_pn[place, held]
        places.append(penalties[place])
    overall = penalties[_least(penalties, losses_pn)]
    edge = overall in (min(penalties), max(penalties))
    return Nested(scores_n, losses_n, tuple(places), overall, edge)


def _least(penalties: Sequence[float], losses_pn: Table) -> int:
    # rounded: equal losses summed in another order differ in their last digit
    loss_p = np.round(losses_pn.mean(1), 12)
    return min(range(len(penalties)), key=lambda place: (loss_p[place], -penalties[place]))
