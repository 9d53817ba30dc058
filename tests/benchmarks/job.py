"""What every contender of the frozen sweep is asked: the same heads on the same images."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from effort import Effort
from tasks import Task
from torch import Tensor, nn

from tlsweep import split
from tlsweep.question import Question
from tlsweep.target.partition import subset
from tlsweep.terms import Split

BATCH = 32
FORWARD_BATCH = 64
LEARNING_RATE = 1e-2  # of AdamW; of 1e-3, 3e-3 and 1e-2 the most accurate on both image sets
SHARE = 0.8  # of the fit split that each draw takes
DRAWS = 3
Place = tuple[int, float, int]  # of a head: cut index, penalty, draw


@dataclass(frozen=True)
class Images:
    """Decoded and normalised: x float32 [n, C, H, W], y int64 [n]."""

    x_fit: Tensor
    y_fit: Tensor
    x_select: Tensor
    y_select: Tensor


@dataclass(frozen=True)
class Job:
    """A frozen sweep. question: of which nothing is decoded yet."""

    task: Task
    question: Question
    effort: Effort

    @property
    def cuts(self) -> range:
        """The cut points that opponents train heads at: after each block.

        Not the raw pixels, nor the source's own pooling, where global averaging gives the features
        of the last block again; tlsweep does these two besides.
        """
        pooled = len(self.question.cuts[-1].shape) == 1
        return range(1, len(self.question.cuts) - pooled)

    @functools.cached_property
    def penalties(self) -> tuple[float, ...]:
        """The regularisations."""
        return self.task.settings().sweep.survey.penalties

    @property
    def heads(self) -> int:
        """How many heads an opponent trains."""
        return len(self.cuts) * len(self.penalties) * DRAWS

    @property
    def n_classes(self) -> int:
        """Classes of the target."""
        return len(self.question.target.output_names)

    def draw(self, seed: int) -> Tensor:
        """Which rows of the fit split a head is trained on: int64 [share of n]."""
        y = self.question.target.labels[self.question.partition.rows(Split.FIT)]
        return torch.from_numpy(subset(y, max(round(SHARE * len(y)), self.n_classes), seed))

    def images(self) -> Images:
        """Decode all images, and keep them as tensors."""
        fit, select = (self.question.examples(s).tensors() for s in (Split.FIT, Split.SELECT))
        return Images(fit.z, fit.y, select.z, select.y)

    def backbone(self, index: int) -> nn.Module:
        """Images [n, C, H, W] to pooled features [n, d] of a cut point, with the source's weights.

        What a user of MobileNetV2 writes as ``nn.Sequential(*model.features[:k], pool, flatten)``.
        """
        prefix, _ = split(self.question.source.model(), self.question.cuts[index])
        return nn.Sequential(prefix, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()

    def head(self, index: int) -> nn.Module:
        """A linear head that standardises: no single rate suits the scales of all cut points."""
        width = self.question.cuts[index].shape[0]
        return nn.Sequential(nn.BatchNorm1d(width, affine=False), nn.Linear(width, self.n_classes))


@dataclass(frozen=True)
class Outcome:
    """A contender's sweep.

    seconds: for the whole of it; timed: what of it was timed, in words; scores: accuracy on the
    select split of the heads that were trained; parts: seconds by name.
    """

    seconds: float
    timed: str
    scores: dict[Place, float]
    parts: dict[str, float] | None = None


def channels_last(x_nchw: Tensor) -> Tensor:
    """The layout that convolutions run fastest in."""
    return x_nchw.contiguous(memory_format=torch.channels_last)


def shuffled(rows: Tensor) -> Iterator[Tensor]:
    """The rows of each step of an epoch; none of one row, which BatchNorm cannot scale."""
    for batch in rows[torch.randperm(len(rows))].split(BATCH):
        if len(batch) > 1:
            yield batch


def accuracy(logits: Any, y_n: Tensor) -> float:
    """Share of rows whose class is right."""
    return float((logits.argmax(1) == y_n).float().mean())
