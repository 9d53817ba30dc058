"""The minutes that a sweep may take, shared between its stages by what trainings were seen to take.

What ended for want of time is kept with the study: taken up again with the same ``sweep.minutes``
it ends at the same trial, and goes on where it is given more.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from tlsweep.stages.contenders import Contender, identity
from tlsweep.study.ledger import Ledger, Trial, seconds_of

SLOWER = 1.25  # a training on the whole pool takes longer than on the fit part of a fold
FOLDS = 2  # replicates that a comparison needs: one shows nothing of how much folds vary
CLOSING = 15.0  # seconds for the model's files and the page
Choose = Callable[[Collection[str]], Sequence[Contender]]
Missing = Callable[[Contender], float]


@dataclass
class Budget:
    """What is left of a sweep's minutes.

    minutes: None for no limit; main: the ledger that remembers; before: seconds of earlier
    sessions; more: trainings of the recommended plan beside its final seeds: on other draws of the
    pool, and on all labels; reserved: seconds that the passes over shifted examples take; abreast:
    trials that are under way at once.
    """

    minutes: float | None
    main: Ledger
    before: float
    more: int = 0
    began: float = field(default_factory=time.monotonic)
    reserved: float = 0.0
    abreast: int = 1

    @property
    def spent(self) -> float:
        """Seconds so far, those of earlier sessions among them."""
        return self.before / self.abreast + time.monotonic() - self.began

    def side_by_side(self, seconds: Iterable[float]) -> float:
        """Seconds that trainings take together, of which several are under way at once."""
        each = list(seconds)
        return max(sum(each) / self.abreast, max(each, default=0.0))

    @property
    def left(self) -> float:
        """Seconds that are left."""
        if self.minutes is None:
            return float("inf")
        return 60 * self.minutes - self.spent - self.reserved

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

    def go_on(
        self,
        stage: str,
        contenders: Sequence[Contender],
        times: float,
        reserved: float,
        *,
        together: bool = False,
    ) -> list[Contender]:
        """Whom one more training each leaves what is reserved; the dearest drop out first.

        times: how many trials' time a training takes; together: those that may win go on all or
        none, and none without them, since only plans that went equally far are compared.
        """
        going = list(contenders)
        while going and not self.allows(
            _stage_of(stage, going), times * self.side_by_side(c.seconds for c in going), reserved
        ):
            droppable = [c for c in going if c.seconds and not (together and c.candidate)]
            if not droppable:
                return []
            dearest = max(droppable, key=lambda c: c.seconds)
            going = [c for c in going if c is not dearest]
        return going

    @property
    def room(self) -> float:
        """Seconds that a training may take which is to be compared and quoted after it."""
        return (self.left - CLOSING) / (1 + FOLDS + SLOWER)

    def has_room(self, setting: str, seconds: float) -> bool:
        """Whether a plan whose training takes so long can be tried, compared and quoted."""
        return self.allows(setting, seconds, CLOSING + (FOLDS + SLOWER) * seconds)

    def without_room(self, takes: float | None = None) -> str:
        """What to say of a plan whose trainings these minutes cannot hold.

        takes: seconds of one, at least, where that is known.
        """
        minutes = self.minutes or math.inf
        rule = f"sweep.minutes={minutes:g} has no room for"
        if takes is None:
            return f"{rule} the trainings that it needs; more minutes may have"
        needed = math.ceil(minutes + (1 + FOLDS + SLOWER) * takes / 60)
        return (
            f"a training takes {takes:.0f} s or more, and {rule} those that it needs;"
            f" sweep.minutes={needed} may have"
        )

    def affordable(self, choose: Choose, missing: Missing) -> tuple[list[Contender], list[str]]:
        """Those contenders for whose least trainings there is time.

        choose: the contenders, each with its best setting but for those of these keys; missing: how
        many trainings of a contender are still to run before it can be compared and quoted.
        Returns what was left out, a sentence each. A session that goes on leaves out the same.
        """
        wanted = list(choose(()))
        if self.minutes is None:
            return wanted, []
        known = self.main.recall("settings_left_out")
        keys = [c.key for c in wanted]
        if known is None or self.minutes > known["minutes"] or set(keys) - set(known["of"]):
            seconds = self.side_by_side(c.seconds * missing(c) for c in wanted)
            needed = math.ceil((self.spent + CLOSING + seconds) / 60)
            out = self.too_long(choose, missing)
            known = {"minutes": self.minutes, "of": keys, "settings": out, "needed": needed}
            self.main.remember("settings_left_out", known)
        kept = list(choose(known["settings"]))
        instead = {identity(c.facts, c.overrides): c for c in kept}
        said = [
            f"{c.called}: a training takes {c.seconds:.0f} s, and sweep.minutes={self.minutes:g}"
            f" has no room for those that it needs; sweep.minutes={known['needed']} may have"
            + _stands_in(instead.get(identity(c.facts, c.overrides)), c)
            for c in wanted
            if c.key in known["settings"]
        ]
        return kept, said

    def too_long(self, choose: Choose, missing: Missing) -> list[str]:
        """Settings that are left out so that the others fit, by key, the costliest first.

        Where a setting of a plan is left out, the next best one of it stands in, if there is time.
        """
        out: list[str] = []
        while True:
            seconds = {c.key: c.seconds * missing(c) for c in choose(out)}
            if self.side_by_side(seconds.values()) <= max(0.0, self.left - CLOSING):
                return out
            out.append(max(seconds, key=lambda key: seconds[key]))

    def final(self, contenders: Sequence[Contender]) -> float:
        """Seconds from the final trainings on, at least: a seed of the best plan and the controls.

        More seeds tell how far scores spread; they take what is left.
        """
        seconds = [c.seconds for c in contenders if c.controls]
        final = self.side_by_side([*seconds, _dearest(contenders)])
        return self.closing(contenders) + SLOWER * final

    def closing(self, contenders: Sequence[Contender]) -> float:
        """Seconds from where the final seeds end, at most."""
        return CLOSING + SLOWER * self.more * _dearest(contenders)


def _stage_of(stage: str, going: Sequence[Contender]) -> str:
    """What the study remembers an end by: the stage, and who was to go on."""
    keys = "\n".join(sorted(c.key for c in going))
    return f"{stage} {hashlib.sha256(keys.encode()).hexdigest()[:12]}"


def _dearest(contenders: Sequence[Contender]) -> float:
    """Seconds of the longest training of a plan that may be recommended."""
    return max((c.seconds for c in contenders if not c.controls), default=0.0)


def _stands_in(instead: Contender | None, left_out: Contender) -> str:
    """What to say where another setting of a plan is compared in place of its best one."""
    if instead is None:
        return ""
    differs = " ".join(o for o in instead.overrides if o not in left_out.overrides)
    return f". In its place: {differs}, next best on the first fold ({instead.seconds:.0f} s)"


def expected(
    trials: Sequence[Trial], family: Collection[str] | None = None, epochs: int | None = None
) -> float | None:
    """Seconds that another training takes; None where nothing tells.

    trials: finished ones, and some that were given up; family: overrides, such as
    ``plan=finetune``, of whose trials the longest so far counts, else what most trials took;
    epochs: of a training that takes them all, at the slowest pace.
    """
    own = [] if family is None else [t for t in trials if is_of(t, family)]
    if epochs is not None:
        paces = [seconds_of(t) / n for t in own or trials if (n := t.user_attrs.get("epochs"))]
        return epochs * max(paces) if paces else None
    if own:
        return max(map(_takes, own))
    return statistics.median(map(_takes, trials)) if trials else None


def is_of(trial: Trial, family: Collection[str]) -> bool:
    """Whether a trial has all of these overrides."""
    return set(family) <= set(trial.user_attrs["overrides"])


def _takes(trial: Trial) -> float:
    """Seconds of the whole training, at least where it was given up."""
    return float(trial.user_attrs.get("takes", seconds_of(trial)))
