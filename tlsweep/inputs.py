"""What the trained part of a plan sees: features of frozen blocks, computed once for all trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tlsweep.config import TrainSettings
from tlsweep.question import Question
from tlsweep.terms import Split

if TYPE_CHECKING:
    from torch import Tensor, nn

SOURCE = None  # in place of a seed: the source's own weights


def pooled(
    question: Question,
    split: Split,
    train: TrainSettings,
    indices: Sequence[int],
    seed: int | None = SOURCE,
) -> list[Tensor]:
    """Pooled activations of a split's images at some cut points: float32 [images, features] each.

    One pass over the images for all that is asked for. indices: of the cut points, ascending;
    seed: draws random weights in place of the source's.
    """
    import torch

    parts = list(_pass(question, split, train, tuple(indices), _model(question, seed)))
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def labels(question: Question, split: Split) -> Tensor:
    """The class indices of a split's images: int64 [images]."""
    import torch

    return torch.from_numpy(question.target.labels[question.partition[split]])


def _model(question: Question, seed: int | None) -> nn.Module:
    return question.source.model() if seed is SOURCE else question.source.fresh(seed)


def _pass(
    question: Question,
    split: Split,
    train: TrainSettings,
    indices: tuple[int, ...],
    model: nn.Module,
) -> Iterator[list[Tensor]]:
    from tlsweep.survey.taps import Taps
    from tlsweep.train.fit import device_of, in_batches

    device = device_of(train)
    taps = Taps(model, question.cuts, indices, train.pool).to(device)
    images: Any = question.images(split)
    for x_bchw, _ in in_batches(images, train):
        with autocast(train, device):
            taken = taps(x_bchw.to(device))
        yield [z_bd.float().cpu() for z_bd in taken]


def autocast(train: TrainSettings, device: Any) -> Any:
    """The precision of ``train.precision``, as Lightning runs it."""
    import torch

    kind = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(train.precision)
    return torch.autocast(device.type, kind, enabled=kind is not None)
