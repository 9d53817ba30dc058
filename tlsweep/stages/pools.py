"""Smaller pools in the same study: how the answer changes with the number of labelled examples.

Each is a study of its own beside the main one: surveyed anew, and the plans that the main pool
quotes are trained on its own folds. Nothing is searched for it: trained plans have the settings
that were best with more labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tlsweep.errors import Fault, Refusal
from tlsweep.stages.budget import Budget
from tlsweep.stages.compare import Compared, replicate
from tlsweep.stages.conclude import decide
from tlsweep.stages.contenders import Contender, merged
from tlsweep.stages.decided import Decided
from tlsweep.stages.guide import Surveyed
from tlsweep.stages.session import Session
from tlsweep.stages.studies import Studies, open_studies
from tlsweep.stages.surveys import survey_all
from tlsweep.study.space import Space
from tlsweep.verdict import best


@dataclass(frozen=True)
class SmallerPool:
    """A part of the main pool. share: of its examples."""

    main: Session
    s: Session
    studies: Studies
    share: float


def open_smaller(s: Session) -> list[SmallerPool]:
    """The smaller pools that are asked for, the smallest first.

    Raises Refusal for one that is not smaller, or that is too small.
    """
    whole = len(s.question.partition.pool)
    things = s.question.task.things
    rule = f"a smaller pool is a part of the {whole} labelled {things} of this one; all is all"
    faults = [
        Fault(f"sweep.pool_sizes: {n}", rule, f"sweep.pool_sizes=[{max(1, whole // 4)},all]")
        for n in s.smaller_pools
        if n >= whole
    ]
    if faults:
        raise Refusal(*faults)
    sessions = [s.of_pool(n) for n in s.smaller_pools]
    for one in sessions:
        one.folder.mkdir(parents=True, exist_ok=True)
    nothing = {one.called: Space() for one in s.sources}
    return [
        SmallerPool(s, one, open_studies(one, nothing), n / whole)
        for one, n in zip(sessions, s.smaller_pools, strict=True)
    ]


def decide_of_pool(pool: SmallerPool, main: Decided, budget: Budget) -> Decided:
    """Survey a smaller pool, confirm the plans that the main one quotes, and choose.

    main: the choice of the main pool; budget: of the whole sweep.
    """
    s, studies = pool.s, pool.studies
    s.join(pool.main)
    own = replace(budget, main=studies.search, more=0)
    surveys, known = list[Surveyed](), list[Contender]()
    if main.surveys:
        surveys, known = survey_all(s, studies, own)
    shorter = [replace(c, seconds=pool.share * c.seconds) for c in _trained(main)]
    contenders = merged(known, shorter)
    said = replicate(s, studies, contenders, own)
    return decide(s, studies, Compared(contenders, contenders, said), surveys, (), own)


def _trained(main: Decided) -> Sequence[Contender]:
    """The trained plans that the main pool quotes, and the best of those that may win."""
    trained = [(c, t) for c, t in main.known if c.outcome is None]
    may_win = [t.evidence for c, t in trained if c.candidate]
    first = best(may_win) if may_win else None
    return [c for c, t in trained if any(c is one for one in main.quoted) or t.evidence is first]
