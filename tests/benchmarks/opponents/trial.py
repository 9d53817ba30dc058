"""Trials that are timed on a sample: which, and what the whole sweep would take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from job import DRAWS, Images, Job, Outcome, Place


@dataclass(frozen=True)
class Trial:
    """One head trained by gradient descent.

    epochs: seconds of each; seconds: of all, with the preparation and the last evaluation.
    """

    seconds: float
    epochs: tuple[float, ...]
    score: float

    def stretched(self, epochs: int) -> float:
        """Seconds of the trial at ``epochs`` epochs: those not run count as the mean one."""
        return self.seconds + (epochs - len(self.epochs)) * float(np.mean(self.epochs))


Train = Callable[[Job, Images, Place, int], Trial]
"""Trains one head for a number of epochs."""


def sampled(job: Job, shares: Sequence[float], train: Train, *, all_epochs: bool) -> Outcome:
    """Time one trial at some cut points; between them seconds are interpolated.

    all_epochs: whether each is trained to its end, or only that at the last cut point.
    """
    images, decoding = decoded(job)
    cuts, epochs = chosen(job, shares), job.effort.epochs
    seconds: list[float] = []
    scores: dict[Place, float] = {}
    train(job, images, (cuts[0], job.penalties[0], 0), 1)  # the first one of a process is slow
    for cut in cuts:
        whole = all_epochs or cut == cuts[-1]
        place = (cut, job.penalties[len(job.penalties) // 2], 0)
        trial = train(job, images, place, epochs if whole else job.effort.short)
        seconds.append(trial.stretched(epochs))
        if whole:
            scores[place] = trial.score
    total = len(job.penalties) * DRAWS * between(job, cuts, seconds)
    part = "" if all_epochs else f"{job.effort.short} of "
    timed = f"{len(cuts)} of {job.heads:,} trials, {part}{epochs} epochs"
    if not all_epochs:
        timed += f" ({epochs} at the last cut)"
    return Outcome(decoding + total, timed, scores)


def decoded(job: Job) -> tuple[Images, float]:
    """The images, and the seconds that decoding took."""
    began = time.perf_counter()
    images = job.images()
    return images, time.perf_counter() - began


def chosen(job: Job, shares: Sequence[float]) -> list[int]:
    """Cut points at these shares of the way from the first block to the last."""
    last = len(job.cuts) - 1
    return sorted({job.cuts[round(share * last)] for share in shares})


def between(job: Job, cuts: Sequence[int], seconds: Sequence[float]) -> float:
    """The sum over all cut points of what was measured at some, straight lines in between."""
    return float(np.interp(list(job.cuts), cuts, seconds).sum())
