"""Examples unlike those of the report split: opened first, scored after all is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal, TrialFailure
from tlsweep.extract.activations import Activations
from tlsweep.question import Question, target_like
from tlsweep.section import CORRUPTIONS, TargetSettings
from tlsweep.stages import final
from tlsweep.stages.decided import Decided
from tlsweep.stages.guide import Surveyed
from tlsweep.stages.session import Session
from tlsweep.stages.take_home import network_of
from tlsweep.survey.surveyor import Refitted, answers
from tlsweep.target import Target
from tlsweep.target.aligned import aligned
from tlsweep.target.corrupt import SEVERITIES, Corrupted
from tlsweep.target.images import ImageTarget
from tlsweep.target.partition import tied
from tlsweep.task import Truth
from tlsweep.task.outcome import Logits
from tlsweep.verdict import ShiftedScores

BATCHES = 256  # that pass at a time; whole ones, so that each holds the same examples
HALVES = 0  # seed of which half of a set chooses


@dataclass(frozen=True)
class ShiftedSet:
    """Examples of one shift, in versions that a plan is scored on one by one.

    name: what the answer calls it; versions: its severities, by their names, each with the same
    examples; rows: places of the examples in each; of_report: whether they are those of the report
    split, in its order; said: what a user should know of them, a sentence each.
    """

    name: str
    versions: Mapping[str, Target]
    rows: NDArray[np.int64]
    of_report: bool = False
    said: tuple[str, ...] = ()

    @property
    def target(self) -> Target:
        """The first version: what is true of the examples is the same in all."""
        return next(iter(self.versions.values()))

    def chooses(self) -> NDArray[np.bool_]:
        """Which examples choose a plan for this shift; the others score it. Bool [examples].

        Groups and copies stay together.
        """
        target, everywhere = self.target, np.arange(len(self.target.labels))
        groups = everywhere if target.groups is None else _numbered(target.groups)
        tie = tied(target.like, groups, everywhere)
        each, of_n = np.unique(tie[self.rows], return_inverse=True)
        order = np.random.default_rng(HALVES).permutation(len(each))
        return np.asarray(order[of_n] < len(each) // 2)


def open_shifted(s: Session) -> list[ShiftedSet]:
    """What ``target.shift`` asks for, read and checked. Raises Refusal with all its faults."""
    faults: list[Refusal] = []
    found: list[ShiftedSet] = []
    for place in dict.fromkeys(s.settings.target.shift):
        try:
            found += _corruptions(s.question) if place == CORRUPTIONS else [_files(s, place)]
        except Refusal as refusal:
            faults.append(refusal)
    if faults:
        raise Refusal(*(fault for refusal in faults for fault in refusal.faults))
    return _named_apart(found)


def _named_apart(sets: Sequence[ShiftedSet]) -> list[ShiftedSet]:
    """The sets, numbered where several would have one name."""
    names = [one.name for one in sets]
    return [
        replace(one, name=f"{one.name} ({names[: place + 1].count(one.name)})")
        if names.count(one.name) > 1
        else one
        for place, one in enumerate(sets)
    ]


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.unique(names, return_inverse=True)[1]
    return found


def _corruptions(question: Question) -> list[ShiftedSet]:
    target = question.target
    if not isinstance(target, ImageTarget):
        rule = f"what is corrupted is images; {target.name} has {target.things}"
        mend = "target.shift=FILE, a file of others, or leave it out"
        raise Refusal(Fault("target.shift=corruptions", rule, mend))
    rows = question.partition.report
    found = []
    for kind, amounts in SEVERITIES.items():
        versions = [Corrupted(target, kind, n) for n in range(1, 1 + len(amounts))]
        named = {f"{kind} {n}": one for n, one in enumerate(versions, start=1)}
        found.append(ShiftedSet(kind, named, rows, of_report=True))
    return found


def _files(s: Session, place: str) -> ShiftedSet:
    question, settings = s.question, s.settings.target
    where = f"target.shift={place}"
    other = _elsewhere(settings, place, where)
    try:
        read = target_like(question.opening, other, s.shown.step)
    except Refusal as refusal:
        # they tell of target.root or target.file, which is not what was typed
        told = (replace(f, value=f"{where}: {f.value}") for f in refusal.faults)
        raise Refusal(*told) from refusal
    target = aligned(read, question.target, where)
    name, rows = other.title, np.flatnonzero(~_learned(target, question))
    if not len(rows):
        rule = "other examples than those that are learned from"
        raise Refusal(Fault(f"{where}: all are in the pool", rule, "leave it out"))
    said = [f"{name}: {text}" for text in read.said]
    if known := len(target.labels) - len(rows):
        are = "example is" if known == 1 else "examples are"
        said.append(f"{name}: {known} {are} learned from, and left out here")
    return ShiftedSet(name, {name: target}, rows, said=tuple(said))


def _learned(target: Target, question: Question) -> NDArray[np.bool_]:
    """Which examples have the content of one of the pool: bool [examples]."""
    pool, other = question.target.contents, target.contents
    if pool is None or other is None:
        return np.zeros(len(target.labels), dtype=np.bool_)
    learned = {pool[i] for i in question.partition.pool}
    return np.array([content in learned for content in other], dtype=np.bool_)


def _elsewhere(settings: TargetSettings, place: str, where: str) -> TargetSettings:
    key = settings.from_files
    if key is None:
        rule = f"target={settings.name} is not read from files of one's own"
        raise Refusal(Fault(where, rule, f"target.shift={CORRUPTIONS}, or leave it out"))
    if Path(getattr(settings, key)).resolve() == Path(place).resolve():
        rule = f"other examples than those of target.{key}"
        raise Refusal(Fault(where, rule, "leave it out"))
    return settings.model_copy(update={key: place})


def seconds_of(sets: Sequence[ShiftedSet], surveys: Sequence[Surveyed], s: Session) -> float:
    """About how long the passes over all versions will take, by what the surveys took."""
    examples = sum(len(one.versions) * len(one.rows) for one in sets)
    passes = 1 + s.settings.sweep.survey.random
    each = sum(one.findings.seconds for one in surveys) / passes
    return examples * each / len(s.question.partition.pool)


def scores_of(
    decided: Decided, sets: Sequence[ShiftedSet], heads: Mapping[str, Mapping[int, Refitted]]
) -> tuple[list[ShiftedScores], list[str]]:
    """What the recommended plan and every frozen one that may win score on each set.

    heads: of each source's cut points, fitted to the whole pool. One pass a version over its
    examples, for all cut points at once. Returns what could not be scored, too, a sentence each.
    """
    if not sets:
        return [], []
    total = sum(len(one.versions) for one in sets)
    decided.s.shown.stage("shifts ", total)
    predicted = None if final.refitted(decided.chosen) else _predictions(decided)
    found: list[ShiftedScores] = []
    said: list[str] = []
    done = 0
    for one in sets:
        try:
            found.append(_scored(decided, one, heads, predicted))
        except TrialFailure as failure:  # no reason to lose the verdict
            said.append(f"{decided.s.question.task.things} with {one.name}: {failure}")
        done += len(one.versions)
        decided.s.shown.step(done, total)
    return found, said


def _scored(
    decided: Decided,
    one: ShiftedSet,
    heads: Mapping[str, Mapping[int, Refitted]],
    predicted: Callable[[Target, NDArray[np.int64]], Logits] | None,
) -> ShiftedScores:
    """The scores of one set. predicted: what the recommended plan's trained network answers."""
    s, score = decided.s, decided.s.question.task.example_scores
    tables: dict[int, list[NDArray[np.float64]]] = {}
    whole, chooses = list[NDArray[np.float64]](), one.chooses()
    for target in one.versions.values():
        logits, y = _frozen(s, target, one.rows, heads), target.labels[one.rows]
        for place, (c, t) in enumerate(decided.known):
            own = logits.get((s.source_of(c.overrides).called, t.facts.plan.keep))
            if place == decided.place and predicted is not None:
                own = predicted(target, one.rows)
            elif not (c.candidate and final.refitted(c)):
                own = None
            if own is not None:
                tables.setdefault(place, []).append(_by_half(score, own, y, chooses))
                if place == decided.place:
                    whole.append(score(own, y))
    plans = [(decided.known[place][1], np.stack(table)) for place, table in tables.items()]
    first = sorted(plans, key=lambda plan: plan[0] is not decided.known[decided.place][1])
    names = tuple(one.versions)
    return ShiftedScores(one.name, names, chooses, np.stack(whole), first, one.of_report)


def _by_half(
    score: Callable[[Logits, Truth], NDArray[np.float64]],
    logits: Logits,
    y: Truth,
    chooses: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Example scores of two halves, each by itself: those of a ratio depend on one another."""
    found = np.empty(len(y))
    for half in (chooses, ~chooses):
        if half.any():
            found[half] = score(logits[half], y[half])
    return found


def _frozen(
    s: Session,
    target: Target,
    rows: NDArray[np.int64],
    heads: Mapping[str, Mapping[int, Refitted]],
) -> dict[tuple[str, int], Logits]:
    """What the frozen plans answer, by the source's name and the cut point."""
    found: dict[tuple[str, int], Logits] = {}
    for source in s.sources:
        if source.called not in heads:
            continue
        inputs = s.inputs(source)
        # other processes would open the question's own target
        alone = inputs.train.model_copy(update={"devices": 1, "strategy": "auto"})
        once = inputs.features.model_copy(update={"budget_gb": 0.0})  # no other trial reads them
        shifted = replace(inputs, train=alone, features=once)
        own = answers_to(target, rows, shifted, heads[source.called])
        found |= {(source.called, index): logits for index, logits in own.items()}
    return found


def answers_to(
    target: Target,
    rows: NDArray[np.int64],
    inputs: Activations,
    heads: Mapping[int, Refitted],
    batches: int = BATCHES,
) -> dict[int, Logits]:
    """What refitted heads answer of examples of another target: logits [n, outputs] a cut point.

    batches: that are passed at a time, whose features of all cut points are in memory at once.
    """
    several, own = inputs.train.batch_size * batches, []
    for start in range(0, len(rows), several):
        part = replace(inputs.question.partition, report=rows[start : start + several])
        asked = replace(inputs.question, target=target, partition=part)
        own.append(answers(replace(inputs, question=asked), heads))
    return {index: np.concatenate([logits[index] for logits in own]) for index in own[0]}


def _predictions(decided: Decided) -> Callable[[Target, NDArray[np.int64]], Logits]:
    """What the trained network that is taken home answers of examples."""
    from tlsweep.train.fit import predict

    studies = decided.studies
    network, trial = network_of(
        decided.s, decided.chosen, studies.confirm, studies.final, scored=True
    )
    spec = trial.question.source.spec
    return lambda target, rows: predict(network, target.dataset(rows, spec), trial.train)
