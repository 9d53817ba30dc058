"""What frozen plans answer in one draw of the data: every cut point, every penalty, every fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from data import Images
from torch import Tensor

from tlsweep.heads.head import Head, Pooling
from tlsweep.heads.logistic import batches, fit_side_by_side
from tlsweep.verdict import PENALTIES


@dataclass(frozen=True)
class Answers:
    """How heads of every cut point c and penalty p answer some examples.

    right: bool [c, p, n]; losses: float32 [c, p, n], nats.
    """

    right: npt.NDArray[np.bool_]
    losses: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Draw:
    """One draw of pool and report split, answered.

    fold_n: which fold each example of the pool is in; folds: each example answered by heads that
    were fitted to the other folds; refit: the report split by heads fitted to the pool; part_n:
    which examples of the pool are the fit split of the old way; select and report: its select and
    report splits, answered by heads that were fitted to that part alone.
    """

    fold_n: npt.NDArray[np.int64]
    folds: Answers
    refit: Answers
    select: Answers
    report: Answers


def answered(
    images: Images,
    pool: npt.NDArray[np.int64],
    report: npt.NDArray[np.int64],
    fold_n: npt.NDArray[np.int64],
    fit: npt.NDArray[np.int64],
    select: npt.NDArray[np.int64],
) -> Draw:
    """Fit everything that a draw asks for. Indices of images: pool, report, fit, select."""
    shape = (len(images.z), len(PENALTIES), len(pool))
    folds = Answers(np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.float32))
    for fold in range(fold_n.max() + 1):
        held = fold_n == fold
        (found,) = fitted(images, pool[~held], [pool[held]])
        folds.right[:, :, held], folds.losses[:, :, held] = found.right, found.losses
    (refit,) = fitted(images, pool, [report])
    of_select, of_report = fitted(images, fit, [select, report])
    return Draw(fold_n, folds, refit, of_select, of_report)


def fitted(
    images: Images, rows: npt.NDArray[np.int64], asked: Sequence[npt.NDArray[np.int64]]
) -> list[Answers]:
    """Heads fitted to ``rows``, standardised by them, and how they answer other examples."""
    y = torch.from_numpy(images.labels)
    sets, others = [], []
    for z_nd in images.z:
        width = z_nd.shape[1]
        head = Head((width,), Pooling(1, 1), images.n_classes, kind="linear")
        head.calibrate([z_nd[rows]])
        sets.append((z_nd[rows] - head.mean) * head.scale)
        others.append([(z_nd[other] - head.mean) * head.scale for other in asked])
    answers: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for batch in batches(sets, len(PENALTIES), images.n_classes):
        wanted = [sets[i] for i in batch]
        fitted = fit_side_by_side(wanted, y[rows], images.n_classes, PENALTIES)
        for i, heads in zip(batch, fitted, strict=True):
            answers[i] = [
                _compared(heads.logits(z_nd), y[other])
                for z_nd, other in zip(others[i], asked, strict=True)
            ]
    return [
        Answers(
            np.stack([answers[i][place][0].numpy() for i in range(len(sets))]),
            np.stack([answers[i][place][1].numpy() for i in range(len(sets))]),
        )
        for place in range(len(asked))
    ]


def _compared(logits_pnk: Tensor, y_n: Tensor) -> tuple[Tensor, Tensor]:
    right_pn = logits_pnk.argmax(2) == y_n
    losses_pn = -logits_pnk.log_softmax(2).gather(2, y_n.expand(len(right_pn), -1)[..., None])
    return right_pn, losses_pn[..., 0]
