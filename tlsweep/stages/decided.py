"""The choice among the plans of a pool, as it stands before the report split is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tlsweep.stages.contenders import Contender
from tlsweep.stages.guide import Surveyed
from tlsweep.stages.session import Session
from tlsweep.stages.studies import Studies
from tlsweep.verdict import Recommendation, Tried


@dataclass(frozen=True)
class Decided:
    """The choice among the plans of a pool, made out of fold; what is quoted is trained.

    known: what was compared; quoted: what has final trainings; wanted: what was to be compared;
    said, short: what was left out before the choice and after it, a sentence each.
    """

    s: Session
    studies: Studies
    surveys: Sequence[Surveyed]
    known: Sequence[tuple[Contender, Tried]]
    recommendation: Recommendation
    quoted: Sequence[Contender]
    wanted: Sequence[Contender]
    said: Sequence[str]
    short: Sequence[str]

    @property
    def place(self) -> int:
        """Of the recommended plan among those that were compared."""
        wanted = self.recommendation.recommended
        return next(i for i, (_, t) in enumerate(self.known) if t.evidence is wanted)

    @property
    def chosen(self) -> Contender:
        """The recommended plan."""
        return self.known[self.place][0]
