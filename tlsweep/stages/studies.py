"""The studies of one sweep in its database: what is searched, and what lies beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tlsweep.stages.guide import spaces_of
from tlsweep.stages.session import Session
from tlsweep.study.ledger import Ledger, Trial, seconds_of
from tlsweep.study.space import Space


@dataclass(frozen=True)
class Studies:
    """The studies of one sweep. Only ``search`` is the sampler's: it sees trials of its own space.

    The others lie beside it: what a survey answered, what the config names, replicates, and the
    final trainings.
    """

    search: Ledger
    survey: Ledger
    first: Ledger
    confirm: Ledger
    final: Ledger

    @property
    def all(self) -> tuple[Ledger, ...]:
        """Every study, the main one first."""
        return self.search, self.survey, self.first, self.confirm, self.final

    def seconds(self) -> float:
        """What all their trials took."""
        ended = (t for ledger in self.all for t in ledger.ended())
        return sum(map(seconds_of, ended))

    def tried(self) -> list[Trial]:
        """The trained plans that were tried, those that were stopped early among them."""
        return [*self.first.counted(), *self.search.counted()]

    def timed(self) -> list[Trial]:
        """The trained plans that tell what trainings take: those that took too long, too."""
        return [*self.searched(), *self.first.given_up(), *self.search.given_up()]

    def searched(self) -> list[Trial]:
        """The trained plans that were tried on the fold that the search holds out."""
        return [*self.first.completed(), *self.search.completed()]


_READ_AT = "report_read_at"  # how many trials had been run when a verdict first read it


def open_studies(s: Session, where: Mapping[str, Space]) -> Studies:
    """The studies of a sweep, made or taken up. where: what is searched, of each source."""
    name = s.settings.study_name
    search = s.ledger(name, {"space": spaces_of(s, where).fingerprint(), **s.facts()})
    others = ("survey", "first", "confirm", "final")
    return Studies(search, *(s.ledger(f"{name}.{kind}", s.facts()) for kind in others))


def read_before(studies: Studies) -> list[str]:
    """What to say where the report split was read before now, and trials have been run since.

    What it showed might have guided whoever asked for them.
    """
    chose = sum(ledger.n_counted() for ledger in (studies.search, studies.first, studies.confirm))
    before = studies.search.recall(_READ_AT)
    if before is None:
        studies.search.remember(_READ_AT, chose)
        return []
    more = chose - before
    return (
        [f"a report split that nobody had seen: {more} trials were run after a verdict had read it"]
        if more > 0
        else []
    )
