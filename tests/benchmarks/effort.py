"""How much of everything a run of the benchmark measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Sample sizes.

    repeats: of what is measured whole; epochs: of a trial that is trained by gradient descent;
    short: epochs that are timed of a sampled trial of which not all are; loop_cuts,
    lightning_cuts, cached_cuts: where trials are sampled, as shares of the way from the first to
    the last block; tuned_epochs: of a tuned trial, the first one not counted; tuned_repeats;
    memory_images: a class, at 1x; memory_default: whether with decoded images kept, too; fit_size:
    labelled images that train, None for all.
    """

    repeats: int
    epochs: int
    short: int
    loop_cuts: tuple[float, ...]
    lightning_cuts: tuple[float, ...]
    cached_cuts: tuple[float, ...]
    tuned_epochs: int
    tuned_repeats: int
    memory_images: int
    memory_default: bool
    fit_size: int | None


FULL = Effort(
    repeats=3,
    epochs=10,
    short=2,
    loop_cuts=(0.0, 1 / 3, 2 / 3, 1.0),
    lightning_cuts=(0.0, 0.5, 1.0),
    cached_cuts=(0.0, 0.5, 1.0),
    tuned_epochs=3,
    tuned_repeats=2,
    memory_images=20,
    memory_default=True,
    fit_size=None,
)
QUICK = Effort(
    repeats=1,
    epochs=1,
    short=1,
    loop_cuts=(0.0, 1.0),
    lightning_cuts=(1.0,),
    cached_cuts=(1.0,),
    tuned_epochs=2,
    tuned_repeats=1,
    memory_images=4,
    memory_default=False,
    fit_size=80,
)
