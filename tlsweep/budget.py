"""The minutes that a sweep may take, shared between its stages by what trainings were seen to take.

What ended for want of time is kept with the study: taken up again with the same ``sweep.minutes``
it ends at the same trial, and goes on where it is given more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tlsweep.contenders import Contender
from tlsweep.study.ledger import Ledger

SLOWER = 1.25  # a training on the whole pool takes longer than on the fit part of a fold


@dataclass
class Budget:
    """What is left of a sweep's minutes.

    minutes: None for no limit; main: the ledger that remembers; before: seconds of earlier
    sessions; final_seeds: trainings of each plan that is quoted.
    """

    minutes: float | None
    main: Ledger
    before: float
    final_seeds: int
    began: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        """Seconds so far, those of earlier sessions among them."""
        return self.before + time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return float("inf") if self.minutes is None else 60 * self.minutes - self.spent

    def ended(self, stage: str) -> bool:
        """Whether a stage has ended for want of time, with as many minutes as now."""
        at = self.main.recall(f"{stage}_ended")
        return at is not None and (self.minutes is not None and self.minutes <= at)

    def allows(self, stage: str, seconds: float, reserved: float) -> bool:
        """Whether ``seconds`` more of a stage leave what is ``reserved`` for later ones.

        Where they do not, the stage has ended, and the study remembers it.
        """
        if self.minutes is None:
            return True
        if self.ended(stage):
            return False
        if self.left >= seconds + reserved:
            return True
        self.main.remember(f"{stage}_ended", self.minutes)
        return False

    def final(self, contenders: Sequence[Contender]) -> float:
        """Seconds that the final trainings will take: the best plan and the controls."""
        trained = [c for c in contenders if c.seconds > 0]
        controls = [c.seconds for c in trained if c.controls]
        best = max((c.seconds for c in trained if not c.controls), default=0.0)
        return self.final_seeds * SLOWER * (sum(controls) + best)
