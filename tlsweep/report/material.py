"""All that the page shows beside the verdict, gathered by the sweep and typed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlsweep.terms import BlockState
from tlsweep.verdict import Verdict


@dataclass(frozen=True)
class Block:
    """A block of the source in the recommended plan; name: of the cut point behind it."""

    name: str
    state: BlockState


@dataclass(frozen=True)
class ClassRow:
    """How well one class is answered by the model that is taken home.

    images: of this class in the report split; labelled: in the pool; interval: of the accuracy;
    taken_for, taken: the class that it is most often mistaken for, and how often ("" and 0 where
    it never is).
    """

    name: str
    images: int
    labelled: int
    right: int
    interval: tuple[float, float]
    taken_for: str
    taken: int

    @property
    def accuracy(self) -> float:
        """Share of its report images that are classified rightly; NaN without any."""
        return self.right / self.images if self.images else float("nan")


@dataclass(frozen=True)
class Group:
    """Report images of one label, or with numbers of one range.

    images: in the report split; labelled: in the pool; told: how well they are answered, in words.
    """

    name: str
    images: int
    labelled: int
    told: str


@dataclass(frozen=True)
class Confused:
    """A report example that the model is surest of and wrong about, or most wrong about.

    called: what people call the example; true, predicted: in words; probability: what the model
    gives its wrong answer, None where it gives none; thumbnail: an image as the model sees it, as
    JPEG, None of others.
    """

    index: int
    called: str
    true: str
    predicted: str
    probability: float | None
    thumbnail: bytes | None


@dataclass(frozen=True)
class Answered:
    """What the model that is taken home answers of the report split.

    wrong: how many it answers wrongly; worst: those of them that it is surest of, or most wrong
    about; of classes, confusion_kk: counts, true classes down, answers across; of labels and
    numbers, groups: labels, or ranges of numbers; told: what is told of each group.
    """

    wrong: int
    worst: tuple[Confused, ...]
    confusion_kk: npt.NDArray[np.int64] | None = None
    classes: tuple[ClassRow, ...] = ()
    groups: tuple[Group, ...] = ()
    told: str = "said"


@dataclass(frozen=True)
class Training:
    """The epochs of one training, as they were told.

    label: the plan in a few words; recommended: whether it is the recommended plan; held_out:
    whether a fold was held out and scored after each epoch.
    """

    label: str
    seed: int
    recommended: bool
    held_out: bool
    epochs: tuple[Mapping[str, float], ...]

    @property
    def thaws(self) -> list[int]:
        """The epochs (1 is the first) that begin with fewer blocks frozen than the one before."""
        frozen = [epoch.get("frozen_blocks") for epoch in self.epochs]
        pairs = enumerate(itertools.pairwise(frozen), start=2)
        return [n for n, (was, now) in pairs if was is not None and now is not None and now < was]


@dataclass(frozen=True)
class Run:
    """A trial of any stage.

    score: in the metric's unit, None where it has none; quoted: whether that is on the report
    split; status: finished, stopped early, failed; link: its page in the record, "" where it has
    none.
    """

    name: str
    stage: str
    fold: int | None
    seed: int | None
    score: float | None
    quoted: bool
    seconds: float
    status: str
    run_id: str
    link: str


@dataclass(frozen=True)
class Command:
    """A command that can be copied as it stands. purpose: what it does, in a few words."""

    purpose: str
    line: str


@dataclass(frozen=True)
class Material:
    """What a page is made of.

    asks: the question in words; blocks: of the recommended plan; transfer: transferability scores
    of each cut point of its source (none without a survey); train_this: trains just the recommended
    plan; commands: what to do next; notes: what a user should know before believing the answer, a
    sentence each; look: the command or address that shows the record, "" without one; config: the
    whole config as YAML.
    """

    verdict: Verdict
    asks: str
    class_names: tuple[str, ...]
    blocks: tuple[Block, ...]
    transfer: tuple[Mapping[str, Any], ...]
    answered: Answered
    trainings: tuple[Training, ...]
    runs: tuple[Run, ...]
    train_this: Command
    commands: tuple[Command, ...]
    notes: tuple[str, ...]
    look: str
    config: str
