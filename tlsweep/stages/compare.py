"""Which plans are compared, what each still needs for that, and their replicates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from tlsweep.stages import final
from tlsweep.stages.budget import FOLDS, SLOWER, Budget
from tlsweep.stages.confirm import item_of, race, replicates
from tlsweep.stages.contenders import Contender, lag_of, merged, trained
from tlsweep.stages.session import Session
from tlsweep.stages.studies import Studies
from tlsweep.study.ledger import Item
from tlsweep.terms import Stage


@dataclass(frozen=True)
class Compared:
    """The plans that are compared. wanted: those that were to be; said: why some are not."""

    contenders: list[Contender]
    wanted: list[Contender]
    said: list[str]


def compare(s: Session, studies: Studies, known: Sequence[Contender], budget: Budget) -> Compared:
    """Choose those that there is time for, and train their replicates.

    known: the plans that a survey answered.
    """
    choose = partial(compared, s, studies, known)
    contenders, short = budget.affordable(choose, partial(trainings_missing, s, studies))
    said = [*short, *replicate(s, studies, contenders, budget)]
    left_out = [c for c in choose(()) if c not in contenders]
    return Compared(contenders, [*contenders, *left_out], said)


def compared(
    s: Session, studies: Studies, known: Sequence[Contender], without: Collection[str] = ()
) -> list[Contender]:
    """The plans to compare: those known without training, and of the trained ones the best.

    without: settings that are not to be had, by key.
    """
    if "search" not in s.settings.sweep.stages:
        return list(known)
    images = len(s.question.partition.folds[0])
    called = (lambda overrides: s.source_of(overrides).called) if s.several else None
    chosen = s.settings.sweep.confirm
    return merged(known, trained(studies.searched(), chosen, images, without, called))


def trainings_missing(s: Session, studies: Studies, contender: Contender) -> float:
    """How many trainings a contender still needs to be compared and quoted, in trials' time."""
    if contender.outcome is not None:
        return 0.0
    wanted = replicates(s.question, s.settings)[: least_folds(s, studies, contender)]
    done = (studies.confirm.of(item_of(contender, fold, seed)) for fold, seed in wanted)
    final_item = final.items(contender, studies.confirm, s.question, s.settings)[0]
    last = 0.0 if studies.final.of(final_item) is not None else SLOWER
    return sum(trial is None for trial in done) + last


def least_folds(s: Session, studies: Studies, contender: Contender) -> int:
    """How many folds a contender is confirmed on at least: a control that is far behind on one.

    With a final seed that says enough; the minutes are worth more to plans that may win.
    """
    done = studies.searched()
    own = [t for t in done if contender.key == " ".join(t.user_attrs["overrides"])]
    if s.settings.sweep.minutes is None or contender.candidate or not own:
        return FOLDS
    lag = lag_of(own, done, len(s.question.partition.folds[0]))
    return 1 if lag.is_far_for_any_seed else FOLDS


def replicate(
    s: Session, studies: Studies, contenders: Sequence[Contender], budget: Budget
) -> list[str]:
    """The best trained plans and the controls again, on other folds. Returns what was left out."""
    ledger = studies.confirm
    wanted = [c for c in contenders if c.outcome is None]
    total = len(wanted) * len(replicates(s.question, s.settings))
    ledger.on_trial = s.follow("confirm", total, lambda: ledger.n_counted())
    crew = s.crew(ledger, Stage.CONFIRM)

    def allowed(alive: Sequence[Contender], rounds: int) -> Sequence[Contender]:
        reserved = budget.final(contenders)
        due = [c for c in alive if rounds < least_folds(s, studies, c)]
        if not due:
            return budget.go_on("confirm", alive, 1.0, reserved, together=True)
        if len(due) < len(alive):
            everyone = budget.side_by_side(c.seconds for c in alive)
            return alive if budget.allows("confirm of controls", everyone, reserved) else due
        return alive

    def run(items: Sequence[Item]) -> None:
        ledger.run_list(items, crew)

    return race(contenders, ledger, s.question, s.settings, run, allowed)
