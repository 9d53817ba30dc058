"""When training ends: once its own loss has settled, whatever other data say. Pure.

The rate is held until the mean training loss of an epoch has settled, then it falls to zero in as
many epochs again, and that is the end (a constant rate with a cooldown: Haegele et al. 2024, where
it ends as a cosine of the same length does). No held-out example has a say in it, so that a score
of the last epoch is not the best of many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WINDOW = 3  # epochs whose losses are averaged before they are compared
LEAST = 0.2  # of its own loss: what a window differs from the one before it while all is moving
FLOOR = 0.01  # nats of a class: a training loss below it has little left to learn
COOLDOWN = 1  # epochs at the full rate for each one in which it falls
WARM_UP = (
    0.1  # of a phase that has rates of its own, as ULMFiT has it (cut_frac), one epoch at most
)


@dataclass(frozen=True)
class Course:
    """held: epochs at the full rate; epochs: all of them; settled: whether the loss had by then."""

    held: int
    epochs: int
    settled: bool


def course(
    losses: Sequence[float],
    waited: int,
    most: int,
    early: bool = True,
    floor: float = FLOOR,
    anew: bool = False,
) -> Course:
    """How long a training goes on, as far as its epochs so far tell.

    losses: mean training loss of each epoch in the last phase of the freeze schedule; waited:
    epochs before that phase; most: epochs that it may take; early: whether it may take fewer;
    floor: the loss that is next to nothing; anew: whether rates begin anew with the last phase, so
    that they fall for as many epochs as they were held in it. What is said of the past does not
    change as epochs are added, so a run that is taken up again ends where it would have.
    """
    begun = waited if anew else 0
    longest = most - _cooldown(most - begun)
    held = next(
        (waited + n for n in range(1, len(losses) + 1) if has_settled(losses[:n], floor)),
        longest + 1,
    )
    settled = held <= longest
    if settled and early:
        return Course(held, held + math.ceil((held - begun) / COOLDOWN), True)
    learned = bool(losses) and waited + len(losses) >= most and losses[-1] < floor
    return Course(longest, most, settled or learned)


def least_epochs(
    losses: Sequence[float],
    waited: int,
    most: int,
    early: bool = True,
    floor: float = FLOOR,
    anew: bool = False,
) -> int:
    """How many epochs a training takes at least, as far as its epochs so far tell.

    Arguments as of ``course``: a loss that has not settled may do so in the next epoch.
    """
    known = course(losses, waited, most, early, floor, anew)
    if known.settled or not early:
        return known.epochs
    held = waited + len(losses) + 1
    return min(most, held + math.ceil((held - waited * anew) / COOLDOWN))


def falling(step: int, held: int, end: int) -> float:
    """What a rate is times: 1 for so many steps, then half a cosine to 0 at the end."""
    share = min(max(0, step - held), end - held) / (end - held)
    return 0.5 * (1 + math.cos(math.pi * share))


def rising(step: int, longest: int, epoch: int) -> float:
    """What a rate that begins anew with a phase is times at its start. All in steps.

    step: of the phase, 0 the first; longest: that the phase may take; epoch: that an epoch takes.
    """
    return min(1.0, (step + 1) / max(1.0, min(epoch, WARM_UP * longest)))


def has_settled(losses: Sequence[float], floor: float = FLOOR) -> bool:
    """Whether the last loss is next to nothing, or the last windows differ by little."""
    if losses[-1] < floor:
        return True
    if len(losses) < 2 * WINDOW:
        return False
    before = sum(losses[-2 * WINDOW : -WINDOW]) / WINDOW
    # a loss that rises is not at rest: after a bump it falls far below where it began
    return abs(before - sum(losses[-WINDOW:]) / WINDOW) < LEAST * before


def _cooldown(most: int) -> int:
    """How many of ``most`` epochs the rate falls in where nothing settles before."""
    return max(1, math.ceil(most / (COOLDOWN + 1)))
