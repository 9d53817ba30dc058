"""A grid: lists on the command line alone, run as they are written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tlsweep import screen
from tlsweep.config.read import read
from tlsweep.errors import TlsweepError
from tlsweep.jobs import grammar
from tlsweep.report import table
from tlsweep.stages.check import check_combinations
from tlsweep.stages.conclude import why_nothing
from tlsweep.stages.session import Session
from tlsweep.study.ledger import Item, Trial
from tlsweep.terms import Stage
from tlsweep.trial import outcomes_folder, question_of


def run_grid(s: Session, listed: Sequence[grammar.Override]) -> list[Trial]:
    """Run every combination of the lists, and show the trials with their scores."""

    def names(rest: Sequence[str], key: str) -> Sequence[str]:
        # a grid over sources: each has cut points of its own
        return question_of(read(s.bench.compose([*s.plain, *rest]))).named(key)

    combinations = grammar.grid(listed, names)
    check_combinations(s.bench, s.plain, combinations)
    items = [Item.of(overrides) for overrides in combinations]
    # one study a command line: another one is another grid
    text = "\n".join(sorted([*s.plain, *(item.key for item in items)]))
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    ledger = s.ledger(f"{s.settings.study_name}.grid-{digest}", s.facts())
    with s.recorded(ledger):
        if any(o.key_or_group.split(".")[0] == "source" for o in listed):
            s.shown.say("  lists are a grid, a table of trials; sweep.sources=[A,B] has a verdict")
        ledger.on_trial = s.follow("grid   ", len(items), lambda: ledger.n_counted())
        ledger.run_list(items, s.crew(ledger, Stage.GRID))
        if not ledger.n_counted():
            raise TlsweepError(why_nothing(ledger).replace("confirmed", "trained"))
        s.record.end_sweep(s.parent_run, "finished", {})
    s.shown.clear()
    trials = ledger.ended()
    screen.console.print(table.grid_table(trials, outcomes_folder(s.folder), s.question))
    return trials
