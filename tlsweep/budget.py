"""The minutes that a sweep may take, shared between its stages by what trainings were seen to take.

What ended for want of time is kept with the study: taken up again with the same ``sweep.minutes``
it ends at the same trial, and goes on where it is given more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tlsweep.contenders import Contender
from tlsweep.study.ledger import Ledger

SLOWER = 1.25  # a training on the whole pool takes longer than on the fit part of a fold
FOLDS = 2  # replicates that a comparison needs: one shows nothing of how much folds vary
CLOSING = 15.0  # seconds for the model's files and the page


@dataclass
class Budget:
    """What is left of a sweep's minutes.

    minutes: None for no limit; main: the ledger that remembers; before: seconds of earlier
    sessions; final_seeds: trainings of each plan that is quoted; splits: trainings of the
    recommended plan on other draws of the pool.
    """

    minutes: float | None
    main: Ledger
    before: float
    final_seeds: int
    splits: int = 0
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

    def has_room(self, plan: str, seconds: float) -> bool:
        """Whether a plan whose training takes so long can be tried, compared and quoted."""
        return self.allows(plan, seconds, CLOSING + (FOLDS + SLOWER) * seconds)

    def affordable(
        self, contenders: Sequence[Contender], missing: Callable[[Contender], float]
    ) -> tuple[list[Contender], list[str]]:
        """Those contenders for whose least trainings there is time; the costliest are left out.

        missing: how many trainings of a contender are still to run before it can be compared and
        quoted. Returns what was left out, a sentence each. A session that goes on leaves out the
        same ones.
        """
        if self.minutes is None or not any(c.seconds > 0 for c in contenders):
            return list(contenders), []
        known = self.main.recall("left_out")
        keys = [" ".join(c.overrides) for c in contenders]
        if known is None or self.minutes > known["minutes"] or set(keys) - set(known["of"]):
            known = {"minutes": self.minutes, "of": keys, **self._too_long(contenders, missing)}
            self.main.remember("left_out", known)
        out = [c for c in contenders if " ".join(c.overrides) in known["plans"]]
        said = [
            f"{c.called}: a training takes {c.seconds:.0f} s, and sweep.minutes={self.minutes:g}"
            f" has no room for those that it needs; sweep.minutes={known['needed']} may have"
            for c in out
        ]
        return [c for c in contenders if not any(c is one for one in out)], said

    def _too_long(
        self, contenders: Sequence[Contender], missing: Callable[[Contender], float]
    ) -> dict[str, Any]:
        seconds = {id(c): c.seconds * missing(c) for c in contenders}
        needed = math.ceil((self.spent + CLOSING + sum(seconds.values())) / 60)
        kept = sorted(contenders, key=lambda c: -seconds[id(c)])
        out: list[str] = []
        while kept and sum(seconds[id(c)] for c in kept) > max(0.0, self.left - CLOSING):
            out.append(" ".join(kept.pop(0).overrides))
        return {"plans": out, "needed": needed}

    def final(self, contenders: Sequence[Contender]) -> float:
        """Seconds from the final trainings on: of the best plan and the controls."""
        draws = self.splits * SLOWER * _best(contenders)
        return CLOSING + draws + self.final_seeds * self.final_seed(contenders)

    @staticmethod
    def final_seed(contenders: Sequence[Contender]) -> float:
        """Seconds of one final seed of the best plan and the controls."""
        controls = sum(c.seconds for c in contenders if c.controls)
        return SLOWER * (controls + _best(contenders))


def _best(contenders: Sequence[Contender]) -> float:
    """Seconds of a training of the best plan, at most: which one it is is not known yet."""
    return max((c.seconds for c in contenders if not c.controls), default=0.0)
