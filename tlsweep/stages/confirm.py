"""Confirming: the best trained plans and the controls again, with other seeds on other folds.

The fold that the search chose on carries the winner's luck: it does not count in comparisons. After
each fold the plans that can no longer win are dropped (racing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tlsweep.config.settings import Settings
from tlsweep.question import Question
from tlsweep.stages.budget import FOLDS
from tlsweep.stages.contenders import Contender
from tlsweep.study.ledger import Item, Ledger, Trial, reason_of_failure
from tlsweep.task.outcome import Outcome, read
from tlsweep.trial import outcomes_folder, study_folder
from tlsweep.verdict import Evidence, Tried, cost_of, kind_of, may_still_win


def replicates(question: Question, settings: Settings) -> list[tuple[int, int]]:
    """(fold, seed) of every replicate: the folds that the search did not choose on.

    With one holdout they are seeds on it. The search's own seed is not used again.
    """
    folds = len(question.partition.folds)
    if folds > 1:
        return [(k, settings.seed + k) for k in range(1, folds)]
    return [(0, settings.seed + r) for r in range(1, 1 + settings.sweep.confirm.seeds)]


def item_of(contender: Contender, fold: int, seed: int) -> Item:
    """The training of a replicate."""
    return Item.of((*contender.overrides, f"fold={fold}", f"seed={seed}"))


def _without_replicate(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides of the contender that a replicate is of."""
    return tuple(o for o in overrides if not o.startswith(("fold=", "seed=")))


def race(
    contenders: Sequence[Contender],
    ledger: Ledger,
    question: Question,
    settings: Settings,
    run: Callable[[Sequence[Item]], None],
    allowed: Callable[[Sequence[Contender], int], Sequence[Contender]],
) -> list[str]:
    """Run replicates fold by fold. Returns what was left out, a sentence each.

    run: trains items; allowed: told who runs next and how many rounds are done, says for whom of
    them there is time.
    """
    said: list[str] = []
    alive = [c for c in contenders if c.outcome is None]
    rounds = replicates(question, settings)
    for done, (fold, seed) in enumerate(rounds):
        if not alive:
            break
        if any(ledger.would_run(item_of(c, fold, seed)) for c in alive):
            in_time = allowed(alive, done)
            said += late("confirming", alive, in_time, f"{done} of {len(rounds)} folds")
            alive = list(in_time)
        run([item_of(c, fold, seed) for c in alive])
        if done + 1 < FOLDS:
            continue
        table = [tried(c, ledger, question, settings) for c in contenders]
        known = {id(c): t.evidence for c, t in zip(contenders, table, strict=True) if t is not None}
        margin, all_ = settings.sweep.confirm.margin / 100, list(known.values())
        alive = [c for c in alive if id(c) in known and may_still_win(all_, known[id(c)], margin)]
    return said


def late(
    what: str, wanted: Sequence[Contender], in_time: Sequence[Contender], after: str
) -> list[str]:
    """What to say where the minutes end a stage, for all or for some."""
    out = [c.called for c in wanted if not any(c is one for one in in_time)]
    if not out:
        return []
    whose = "" if len(out) == len(wanted) else f" of {', '.join(out)}"
    return [f"sweep.minutes ended the {what}{whose} after {after}"]


def tried(
    contender: Contender, ledger: Ledger, question: Question, settings: Settings
) -> Tried | None:
    """What a contender showed out of fold; None where no replicate of it ended well."""
    if contender.outcome is not None:
        outcomes = [(fold, Outcome({fold: z})) for fold, z in contender.outcome.held_out.items()]
    else:
        folder = outcomes_folder(study_folder(settings))
        outcomes = [
            (fold, read(folder / trial.user_attrs["outcome"], question.task))
            for fold, seed in replicates(question, settings)
            if (trial := ledger.of(item_of(contender, fold, seed))) is not None
        ]
    if not outcomes:
        return None
    scores, losses = _tables(outcomes, question)
    evidence = Evidence(
        name=contender.key,
        scores_rn=scores,
        losses_rn=losses,
        fold_r=np.array([fold for fold, _ in outcomes]),
        cost=cost_of(contender.facts),
        kind=kind_of(contender.facts),
        control=not contender.candidate,
        deterministic=contender.facts.is_deterministic,
        labels=len(question.partition.pool),
    )
    trials = _trials(contender, ledger, question, settings)
    # final trainings take the median number of epochs of the folds: what most folds did counts
    settled = sum(t.user_attrs.get("settled", True) for t in trials)
    at_rest = not trials or 2 * settled > len(trials)
    names = contender.controls
    return Tried(contender.facts, contender.overrides, names, evidence, settled=at_rest)


def _trials(
    contender: Contender, ledger: Ledger, question: Question, settings: Settings
) -> list[Trial]:
    """The finished replicates of a contender that was trained."""
    wanted = replicates(question, settings)
    found = [ledger.of(item_of(contender, fold, seed)) for fold, seed in wanted]
    return [trial for trial in found if trial is not None]


def _tables(
    outcomes: Sequence[tuple[int, Outcome]], question: Question
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and losses [replicates, held-out examples], NaN where a replicate did not score."""
    parts, y = question.partition, question.target.labels
    sizes = [len(fold) for fold in parts.folds]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    shape = len(outcomes), int(starts[-1])
    scores, losses = np.full(shape, np.nan), np.full(shape, np.nan)
    for r, (fold, outcome) in enumerate(outcomes):
        own, labels = slice(starts[fold], starts[fold + 1]), y[parts.folds[fold]]
        scores[r, own] = question.task.example_scores(outcome.held_out[fold], labels)
        losses[r, own] = question.task.losses(outcome.held_out[fold], labels)
    return scores, losses


def shortfalls(
    contenders: Sequence[Contender], ledger: Ledger, settings: Settings, told: Sequence[str] = ()
) -> list[str]:
    """What was to be confirmed and failed or was never found, in a sentence each.

    told: what was said before; a control that it begins with is not missed a second time.
    """
    said = []
    known = {text.partition(":")[0] for text in told}
    ended = [(t.user_attrs["overrides"], reason_of_failure(t)) for t in ledger.ended()]
    for c in contenders:
        mine = [why for overrides, why in ended if _without_replicate(overrides) == c.overrides]
        if failed := [why for why in mine if why is not None]:
            reasons = "; ".join(sorted(set(failed)))
            said.append(f"{c.called}: {len(failed)} of {len(mine)} replicates failed: {reasons}")
    measured = {name for c in contenders for name in c.controls}
    for name in settings.sweep.confirm.controls:
        if name not in measured and name not in known:
            said.append(f"{name.replace('_', ' ')}: no plan of it was tried")
    return said
