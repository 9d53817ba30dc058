"""The final trainings: on the whole pool, with new seeds that chose nothing, scored at last.

All that a verdict quotes comes from here. The report split is read by no other stage.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tlsweep.config.settings import Settings
from tlsweep.question import Question, split_seeds
from tlsweep.stages.confirm import item_of, late, replicates
from tlsweep.stages.contenders import Contender
from tlsweep.study.ledger import Item, Ledger, reason_of_failure
from tlsweep.task.outcome import Logits, read
from tlsweep.trial import outcomes_folder, study_folder

FIRST_SEED = 100  # above the settings' seed: far from those that chose


def items(
    contender: Contender, confirmed: Ledger, question: Question, settings: Settings
) -> list[Item]:
    """The trainings of a contender on the whole pool.

    They take the median number of epochs that its folds took: nothing held out says when to stop.
    One alone where no seed changes it. The first one's weights are kept, of a plan that may be
    recommended: the model to take home.
    """
    plan = _on_the_pool(contender, confirmed, question, settings)
    count = 1 if contender.facts.is_deterministic else settings.sweep.confirm.seeds
    first = settings.seed + FIRST_SEED
    kept = f"keep_weights={str(contender.candidate).lower()}"
    return [
        Item.of((*plan, f"seed={seed}", *([kept] if seed == first else [])))
        for seed in range(first, first + count)
    ]


def on_draws(
    contender: Contender, confirmed: Ledger, question: Question, settings: Settings
) -> list[Item]:
    """The trainings of a contender on other draws of pool and report split, each with a new seed.

    Their scores spread by images, seeds and the draw. A draw's report images may have chosen the
    plan, as they lay in the pool then: they tell how far scores spread, not how high they are.
    """
    plan = _on_the_pool(contender, confirmed, question, settings)
    first = settings.seed + FIRST_SEED + settings.sweep.confirm.seeds
    return [
        Item.of((*plan, f"seed={first + k}", f"target.split_seed={seed}"))
        for k, seed in enumerate(split_seeds(settings.target, settings.sweep.confirm.splits))
    ]


def _on_the_pool(
    contender: Contender, confirmed: Ledger, question: Question, settings: Settings
) -> tuple[str, ...]:
    epochs = _epochs(contender, confirmed, question, settings)
    fixed = () if epochs is None else (f"train.epochs={epochs}", "train.settle=false")
    return (*contender.overrides, *fixed, "fold=null")


def on_all(contender: Contender, confirmed: Ledger, question: Question, settings: Settings) -> Item:
    """One more training, on the report split too: a model that has no score of its own."""
    scored = items(contender, confirmed, question, settings)[0]
    return Item.of((*scored.overrides, "train_on=all"))


def _epochs(
    contender: Contender, confirmed: Ledger, question: Question, settings: Settings
) -> int | None:
    """The median number of epochs that the folds of a contender took; None without any."""
    wanted = replicates(question, settings)
    trials = [confirmed.of(item_of(contender, fold, seed)) for fold, seed in wanted]
    taken = [t.user_attrs["epochs"] for t in trials if t is not None and t.user_attrs.get("epochs")]
    return round(statistics.median(taken)) if taken else None


def train(
    chosen: Sequence[Contender],
    confirmed: Ledger,
    ledger: Ledger,
    question: Question,
    settings: Settings,
    run: Callable[[Sequence[Item]], None],
    allowed: Callable[[Sequence[Contender]], Sequence[Contender]] = lambda chosen: chosen,
) -> list[str]:
    """Train on the whole pool what the survey's heads cannot answer, seed by seed.

    allowed: asked before every seed but the first for whom there is time. Returns what was left
    out, a sentence each.
    """
    said: list[str] = []
    alive = [c for c in chosen if not refitted(c)]
    wanted = {id(c): items(c, confirmed, question, settings) for c in alive}
    seeds = max(map(len, wanted.values()), default=0)
    for done in range(seeds):
        alive = [c for c in alive if len(wanted[id(c)]) > done]
        if done and any(ledger.would_run(wanted[id(c)][done]) for c in alive):
            in_time = allowed(alive)
            said += late("final trainings", alive, in_time, f"{done} of {seeds} seeds")
            alive = list(in_time)
        run([wanted[id(c)][done] for c in alive])
    return said


def taken_home(
    contender: Contender, confirmed: Ledger, ledger: Ledger, question: Question, settings: Settings
) -> bool:
    """Whether there is a network of it to take home: that of its first final training."""
    if refitted(contender):
        return True  # in no time
    return ledger.of(items(contender, confirmed, question, settings)[0]) is not None


def train_on_draws(
    chosen: Contender,
    confirmed: Ledger,
    ledger: Ledger,
    question: Question,
    settings: Settings,
    run: Callable[[Sequence[Item]], None],
    allowed: Callable[[], bool],
) -> tuple[list[float], list[str]]:
    """Train the recommended plan on other draws of the pool (``sweep.confirm.splits``).

    allowed: asked before each whether there is time. Returns the accuracies on the draws' own
    report splits, and what was left out, a sentence each.
    """
    wanted, said = on_draws(chosen, confirmed, question, settings), []
    for done, item in enumerate(wanted):
        if ledger.would_run(item) and not allowed():
            said.append(f"sweep.minutes ended the draws of the pool after {done} of {len(wanted)}")
            break
        run([item])
    ended = {t.user_attrs.get("key"): reason_of_failure(t) for t in ledger.ended()}
    failed = [why for item in wanted if (why := ended.get(item.key)) is not None]
    if failed:
        why = "; ".join(sorted(set(failed)))
        said.append(f"other draws of the pool: {len(failed)} of {len(wanted)} failed: {why}")
    trials = [ledger.of(item) for item in wanted]
    return [float(t.user_attrs["scores"]["report"]) for t in trials if t is not None], said


def failures(
    chosen: Sequence[Contender],
    confirmed: Ledger,
    ledger: Ledger,
    question: Question,
    settings: Settings,
) -> list[str]:
    """What was to be trained on the whole pool and failed, in a sentence each."""
    ended = {t.user_attrs.get("key"): reason_of_failure(t) for t in ledger.ended()}
    said = []
    for c in chosen:
        keys = [] if refitted(c) else [i.key for i in items(c, confirmed, question, settings)]
        reasons = [why for key in keys if (why := ended.get(key)) is not None]
        if reasons:
            why = "; ".join(sorted(set(reasons)))
            said.append(f"{c.called}: {len(reasons)} of {len(keys)} final trainings failed: {why}")
    return said


def refitted(contender: Contender) -> bool:
    """Whether a head that is fitted anew says all: a frozen plan with the source's weights."""
    return contender.outcome is not None and contender.facts.is_deterministic


def report_logits(
    contender: Contender,
    refits: dict[int, Logits],
    confirmed: Ledger,
    ledger: Ledger,
    question: Question,
    settings: Settings,
) -> NDArray[np.float32] | None:
    """Logits [seeds, report images, classes] of the final trainings; None where none ended well."""
    if refitted(contender):
        return refits[contender.facts.plan.keep][None]
    folder = outcomes_folder(study_folder(settings))
    trials = [ledger.of(i) for i in items(contender, confirmed, question, settings)]
    found = [
        read(folder / t.user_attrs["outcome"], question.task).report
        for t in trials
        if t is not None
    ]
    known = [z for z in found if z is not None]
    return np.stack(known) if known else None
