"""One trial, resolved once: a question that is open, a plan in its cut points, and settings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlsweep.config.sections import FeaturesSettings, TrainedOn
from tlsweep.config.settings import Settings
from tlsweep.errors import Fault, Refusal
from tlsweep.extract.activations import Activations
from tlsweep.plan import TransferPlan
from tlsweep.question import (
    Progress,
    Question,
    check_device,
    check_head,
    check_train,
    open_question,
)
from tlsweep.registry import component
from tlsweep.schedule.base import FreezeSchedule
from tlsweep.schedule.settings import PhasedSettings
from tlsweep.section import ScheduleSettings
from tlsweep.terms import Split, Stage
from tlsweep.train.settings import TrainSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tlsweep.cut import CutPoints
    from tlsweep.task import Task


@dataclass(frozen=True)
class Resolved:
    """What is trained, on what, and how; below a trial nobody reads the config.

    name: of the kind of plan; schedule: as it is written; freezing: which blocks are trained in
    which phase; fold: what is held out of the pool, None for nothing; in_sweep: whether other
    trials of a study come after it; folder: the study's own; digest: of all that is trained: the
    same for the same plan, data and settings.
    """

    question: Question
    name: str
    plan: TransferPlan
    schedule: ScheduleSettings
    freezing: FreezeSchedule
    train: TrainSettings
    features: FeaturesSettings
    seed: int
    fold: int | None
    train_on: TrainedOn
    stage: Stage
    keep_weights: bool
    in_sweep: bool
    folder: Path
    digest: str

    @property
    def inputs(self) -> Activations:
        """What frozen blocks make of the trial's images."""
        return Activations(self.question, self.train, self.features, self.seed, self.fold)

    @property
    def task(self) -> Task:
        """The question's, with the loss that is trained on: weighted by the labels that train."""
        task = self.question.task
        if self.train.class_weights == "none":
            return task
        return task.balanced(self.truth(Split.FIT))

    def truth(self, split: Split) -> NDArray[Any]:
        """The truth of a split's images."""
        question = self.question
        return question.target.labels[question.partition.rows(split, self.fold)]


def question_of(settings: Settings, progress: Progress | None = None) -> Question:
    """The question of a config, opened, or the same one again. Raises Refusal with every fault."""
    check_device(settings.train)
    question = open_question(settings.opening, settings.plan, progress)
    check_train(settings.train, question)
    return question


def resolve(settings: Settings, question: Question | None = None) -> Resolved:
    """The trial of a config; question: its own, where that is open already.

    Raises Refusal where question or plan cannot be what is written.
    """
    question = question or question_of(settings)
    plan = question.plan(settings.plan)
    check_head(plan, settings.train, question)
    return Resolved(
        question=question,
        name=settings.plan.name,
        plan=plan,
        schedule=settings.schedule,
        freezing=_freezing(settings.schedule, plan, question),
        train=settings.train,
        features=settings.features,
        seed=settings.seed,
        fold=settings.fold,
        train_on=settings.train_on,
        stage=settings.stage,
        keep_weights=settings.keep_weights,
        in_sweep=settings.trial is not None,
        folder=study_folder(settings),
        digest=_digest(settings),
    )


def _freezing(schedule: ScheduleSettings, plan: TransferPlan, question: Question) -> FreezeSchedule:
    """Which blocks of a plan are trained in which phase."""
    opener = component("schedule", schedule.name)
    found: FreezeSchedule = opener.open(schedule, plan, question.cuts, question.untrainable(plan))
    for phase in found.thawed:
        _refuse_split(schedule.name, phase, question.cuts)
    return replace(found, anew=schedule.anew) if isinstance(schedule, PhasedSettings) else found


def _refuse_split(name: str, phase: frozenset[int], cuts: CutPoints) -> None:
    """Raise Refusal where a phase thaws a block without the one below it that it is a part of."""
    for i in sorted(phase):
        if cuts[i].starts or i - 1 in phase:
            continue
        names, low, high = cuts.names, cuts.below(i).index, cuts.above(i).index
        raise Refusal(
            Fault(
                f"schedule={name}: a phase thaws {names[i + 1]} without {names[i]}",
                f"{names[i]} is good for its prefix only: no part can start there",
                f"schedule.phases with {names[low + 1]}..{names[high]} in one phase",
            )
        )


def _digest(settings: Settings) -> str:
    asked = {**settings.question(), "fold": settings.fold, "train_on": settings.train_on}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def study_folder(settings: Settings) -> Path:
    """Where the study's own files are."""
    return Path(settings.output_dir) / settings.study_name
