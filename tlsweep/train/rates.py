"""How the learning rate runs over a training, and when a training has settled. Pure.

Rates run as warmup-stable-decay does (Hu et al. 2024, "MiniCPM", section 4), without a warm-up:
flat for as long as the training loss improves, then down to zero in as many epochs again. So
training may end where it has settled, and its rates end with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DECAY = 1.0  # share of the epochs so far that the rates take to come down
COMPARED = 3  # epochs of which the mean loss is compared with that of as many before them
STANDS = 0.8  # share of that loss: what is above it has settled
LEARNED = 0.01  # nats that a training loss may be left with: little is left to learn


def settled(losses: Sequence[float]) -> bool:
    """Whether a training loss, one number an epoch, has settled.

    It has where it is under ``LEARNED``, or where the mean of its last three epochs is more than
    four fifths of the mean of the three before. Held-out data has no say in it.
    """
    if losses and losses[-1] < LEARNED:
        return True
    if len(losses) < 2 * COMPARED:
        return False
    last, before = losses[-COMPARED:], losses[-2 * COMPARED : -COMPARED]
    return sum(last) > STANDS * sum(before)


def decay_epochs(flat: int) -> int:
    """How many epochs the rates take to come down after so many flat ones."""
    return max(1, math.ceil(DECAY * flat))


@dataclass
class Clock:
    """When the rates of one training come down, and when it ends: whole epochs.

    most: epochs that it may take; ends_early: whether it may take fewer; began: the epochs that
    were done as the rates began to come down, None before; at_rest: whether the loss had settled
    then.
    """

    most: int
    ends_early: bool
    began: int | None = None
    at_rest: bool = False

    def tick(self, done: int, losses: Sequence[float], *, last_phase: bool = True) -> None:
        """So many epochs are done. losses: of the present phase of a freeze schedule."""
        if self.began is not None:
            return
        at_rest = last_phase and settled(losses)
        late = done + 1 + decay_epochs(done + 1) > self.most
        if late or (at_rest and self.ends_early):
            self.began, self.at_rest = done, at_rest

    @property
    def end(self) -> int:
        """How many epochs the training takes, as far as is known."""
        if self.began is None:
            return self.most
        return min(self.most, self.began + decay_epochs(self.began))

    def factor(self, epoch: float) -> float:
        """What rates are multiplied with after so many epochs, parts of one counted."""
        if self.began is None or epoch <= self.began:
            return 1.0
        return max(0.0, 1 - (epoch - self.began) / max(1, self.end - self.began))
