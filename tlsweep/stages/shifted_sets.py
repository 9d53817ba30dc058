"""Examples unlike those of the report split: opened first, scored after all is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal
from tlsweep.question import Question, target_like
from tlsweep.section import CORRUPTIONS, TargetSettings
from tlsweep.stages import final
from tlsweep.stages.decided import Decided
from tlsweep.stages.session import Session
from tlsweep.stages.take_home import network_of
from tlsweep.survey.surveyor import Refitted, answers
from tlsweep.target import Target
from tlsweep.target.aligned import aligned
from tlsweep.target.corrupt import STRENGTHS, Corrupted
from tlsweep.target.images import ImageTarget
from tlsweep.task.outcome import Logits
from tlsweep.verdict import ShiftedScores

HALVES = 0  # seed of which half of a set chooses


@dataclass(frozen=True)
class ShiftedSet:
    """Examples of one shift, in versions that a plan is scored on one by one.

    name: what the answer calls it; versions: its strengths, by their names, each with the same
    examples; rows: places of the examples in each.
    """

    name: str
    versions: dict[str, Target]
    rows: NDArray[np.int64]

    @property
    def target(self) -> Target:
        """The first version: what is true of the examples is the same in all."""
        return next(iter(self.versions.values()))

    def chooses(self) -> NDArray[np.bool_]:
        """Which examples choose a plan for this shift; the others score it. Bool [examples].

        Groups and copies stay together.
        """
        groups = self.target.groups
        key = self.target.like if groups is None else np.unique(groups, return_inverse=True)[1]
        each, of_n = np.unique(key[self.rows], return_inverse=True)
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
    return found


def _corruptions(question: Question) -> list[ShiftedSet]:
    target = question.target
    if not isinstance(target, ImageTarget):
        rule = f"what is corrupted is images; {target.name} has {target.things}"
        mend = "target.shift=FILE, a file of others, or leave it out"
        raise Refusal(Fault("target.shift=corruptions", rule, mend))
    rows = question.partition.report
    return [
        ShiftedSet(
            kind, {f"{kind} {n}": Corrupted(target, kind, n) for n in range(1, 1 + len(each))}, rows
        )
        for kind, each in STRENGTHS.items()
    ]


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
    return ShiftedSet(other.title, {other.title: target}, np.arange(len(target.labels)))


def _elsewhere(settings: TargetSettings, place: str, where: str) -> TargetSettings:
    key = settings.from_files
    if key is None:
        rule = f"target={settings.name} is not read from files of one's own"
        raise Refusal(Fault(where, rule, f"target.shift={CORRUPTIONS}, or leave it out"))
    if Path(getattr(settings, key)).resolve() == Path(place).resolve():
        rule = f"other examples than those of target.{key}"
        raise Refusal(Fault(where, rule, "leave it out"))
    return settings.model_copy(update={key: place})


def scores_of(
    decided: Decided, sets: Sequence[ShiftedSet], heads: Mapping[str, Mapping[int, Refitted]]
) -> list[ShiftedScores]:
    """What the recommended plan and every frozen one score on each set.

    heads: of each source's cut points, fitted to the whole pool. One pass a version over its
    examples, for all cut points at once.
    """
    s, total, done = decided.s, sum(len(one.versions) for one in sets), 0
    s.shown.stage("shifts ", total)
    predicted = None if final.refitted(decided.chosen) or not sets else _predictions(decided)
    found = []
    for one in sets:
        tables: dict[int, list[NDArray[np.float64]]] = {}
        for target in one.versions.values():
            logits = _frozen(s, target, one.rows, heads)
            y, score = target.labels[one.rows], s.question.task.example_scores
            for place, (c, t) in enumerate(decided.known):
                own = logits.get((s.source_of(c.overrides).called, t.facts.plan.keep))
                if place == decided.place and predicted is not None:
                    own = predicted(target, one.rows)
                elif not (c.candidate and final.refitted(c)):
                    own = None
                if own is not None:
                    tables.setdefault(place, []).append(score(own, y))
            done += 1
            s.shown.step(done, total)
        plans = [(decided.known[place][1], np.stack(table)) for place, table in tables.items()]
        first = sorted(plans, key=lambda one: one[0] is not decided.known[decided.place][1])
        found.append(ShiftedScores(one.name, tuple(one.versions), one.chooses(), first))
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
        part = replace(inputs.question.partition, report=rows)
        asked = replace(inputs.question, target=target, partition=part)
        # other processes would open the question's own target
        alone = inputs.train.model_copy(update={"devices": 1, "strategy": "auto"})
        once = inputs.features.model_copy(update={"budget_gb": 0.0})  # no other trial reads them
        shifted = replace(inputs, question=asked, train=alone, features=once)
        own = answers(shifted, heads[source.called])
        found |= {(source.called, index): logits for index, logits in own.items()}
    return found


def _predictions(decided: Decided) -> Callable[[Target, NDArray[np.int64]], Logits]:
    """What the trained network that is taken home answers of examples."""
    from tlsweep.train.fit import predict

    studies = decided.studies
    network, trial = network_of(decided.s, decided.chosen, studies.confirm, studies.final)
    spec = trial.question.source.spec
    return lambda target, rows: predict(network, target.dataset(rows, spec), trial.train)
