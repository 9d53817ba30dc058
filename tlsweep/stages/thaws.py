"""What a verdict says of trainings that ended before their freeze schedules did."""

from __future__ import annotations

from collections.abc import Sequence

from tlsweep.facts import NEVER_THAWED
from tlsweep.stages.contenders import Contender, facts_of
from tlsweep.study.ledger import Ledger, Trial


def never_thawed(trials: Sequence[Trial]) -> list[str]:
    """A sentence for each kind of plan of which some trainings were not what they were to be.

    trials: those that were tried, which are compared as what they were.
    """
    found: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for facts in map(facts_of, trials):
        counts[facts.name] = counts.get(facts.name, 0) + 1
        if blocks := facts.regions.get(NEVER_THAWED):
            found.setdefault(facts.name, []).append(blocks)
    return [
        f"{name}: {len(blocks)} of {counts[name]} trainings ended before their schedule thawed"
        f" {', '.join(dict.fromkeys(blocks))}, and are compared as what they were, with these"
        " frozen"
        for name, blocks in found.items()
    ]


def otherwise(contenders: Sequence[Contender], *ledgers: Ledger) -> list[str]:
    """A sentence for each plan of which other folds or seeds trained other blocks.

    ledgers: of the trainings that confirmed, and of the final ones.
    """
    said = []
    for c in contenders:
        mine = [
            facts_of(trial)
            for ledger in ledgers
            for trial in ledger.completed()
            if tuple(trial.user_attrs["overrides"])[: len(c.overrides)] == c.overrides
            and "facts" in trial.user_attrs
        ]
        other = [f for f in mine if f.plan.states != c.facts.plan.states]
        if other:
            said.append(
                f"one plan of {c.called}: {len(other)} of its {len(mine)} replicates and final"
                " trainings ended in another phase of their schedule than in the search"
            )
    return said
