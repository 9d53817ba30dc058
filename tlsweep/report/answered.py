"""What the model that is taken home answers of the report split, and where it is most wrong."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from tlsweep.report.material import Answered, ClassRow, Confused, Group
from tlsweep.target import ImageTarget
from tlsweep.task import Outputs, Scores, Truth
from tlsweep.terms import ImageSpec
from tlsweep.verdict import Told, accuracy_interval

if TYPE_CHECKING:
    from torch import Tensor

    from tlsweep.question import Question

WORST = 12  # examples that are shown
RANGES = 5  # of numbers that are told apart
_SMALLEST = 96  # pixels of a thumbnail's side, at least


def answered(question: Question, outputs_no: Outputs) -> Answered:
    """What a model answers of the report split. outputs_no: float32 [images, outputs]."""
    kind = question.task.kind
    if kind == "classes":
        return _of_classes(question, outputs_no)
    groups = _of_labels if kind == "labels" else _of_numbers
    y_n = question.target.labels[question.partition.report]
    scores_n = question.task.example_scores(outputs_no, y_n)
    worst = _worst(question, outputs_no, np.argsort(scores_n, kind="stable")[:WORST])
    wrong = int((scores_n < question.task.metric.high).sum())
    told = "said" if kind == "labels" else question.task.measure.words
    found = groups(question, outputs_no, y_n, scores_n)
    return Answered(wrong, worst, groups=found, told=told)


def _of_labels(
    question: Question, outputs_no: Outputs, y_nm: Truth, scores_n: Scores
) -> tuple[Group, ...]:
    """Label by label."""
    said_nm, pool = question.task.decide(outputs_no), question.partition.pool
    labelled_m = question.target.labels[pool].sum(0)
    return tuple(
        Group(
            name, int(true_n.sum()), int(labelled),
            f"{int((said_n & true_n).sum())} found, {int((said_n & ~true_n).sum())} said wrongly",
        )
        for name, labelled, said_n, true_n in zip(
            question.target.output_names, labelled_m, said_nm.T, y_nm.T, strict=True
        )
    )  # fmt: skip


def _of_numbers(
    question: Question, outputs_no: Outputs, y_nm: Truth, scores_n: Scores
) -> tuple[Group, ...]:
    """Ranges of the (first) number, with as many report images in each."""
    told, unit = Told(question.task.measure), question.task.measure.unit
    pool_n = question.target.labels[question.partition.pool][:, 0]
    ends = np.quantile(y_nm[:, 0], np.linspace(0, 1, RANGES + 1))
    found = []
    for low, high in itertools.pairwise(ends.tolist()):
        last = high == ends[-1]
        mine_n, labelled_n = (
            (v >= low) & ((v <= high) if last else (v < high)) for v in (y_nm[:, 0], pool_n)
        )
        if mine_n.any():
            own = told.score(scores_n[mine_n][None])
            words = f"{unit.written(own.score)} ({unit.number(own.low)} to {unit.number(own.high)})"
            name = f"{unit.number(low)} to {unit.number(high)}"
            found.append(Group(name, int(mine_n.sum()), int(labelled_n.sum()), words))
    return tuple(found)


def _worst(
    question: Question,
    outputs_no: Outputs,
    places: NDArray[np.int64],
    sure_n: NDArray[np.float64] | None = None,
) -> tuple[Confused, ...]:
    """The examples at these places of the report split, the worst first.

    sure_n: the probability of each answer, where it has one.
    """
    target, rows = question.target, question.partition.report[places]
    said = question.task.decide(outputs_no[places])
    pictures = _pictures(question, rows)
    return tuple(
        Confused(
            index=int(row),
            called=target.called(int(row)),
            true=target.truth_of(int(row)),
            predicted=question.task.spelled(one, target.output_names),
            probability=None if sure_n is None else float(sure_n[place]),
            thumbnail=None if picture is None else thumbnail(picture),
        )
        for place, row, one, picture in zip(places, rows, said, pictures, strict=True)
    )


def _pictures(question: Question, rows: NDArray[np.int64]) -> Sequence[Tensor | None]:
    """The images as the model sees them; of other examples none."""
    target, spec = question.target, question.source.spec
    if len(rows) and isinstance(target, ImageTarget) and isinstance(spec, ImageSpec):
        return list(target.pixels(rows, spec))
    return [None] * len(rows)


# ---------------------------------------------------------------------- classes
def _of_classes(question: Question, logits_nk: Outputs) -> Answered:
    """Classes, confusion, and the worst mistakes."""
    target, rows = question.target, question.partition.report
    y, k = target.labels[rows], len(target.output_names)
    said = logits_nk.argmax(1)
    confusion = np.zeros((k, k), np.int64)
    np.add.at(confusion, (y, said), 1)
    labelled = np.bincount(target.labels[question.partition.pool], minlength=k)
    classes = tuple(
        _class_row(target.output_names, c, confusion, int(labelled[c])) for c in range(k)
    )
    wrong = np.flatnonzero(said != y)
    sure = softmax(logits_nk.astype(np.float64), axis=1)[np.arange(len(y)), said]
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:WORST]
    shown = _worst(question, logits_nk, worst, sure)
    return Answered(len(wrong), shown, confusion_kk=confusion, classes=classes)


def _class_row(names: Sequence[str], c: int, confusion_kk: np.ndarray, labelled: int) -> ClassRow:
    images, right = int(confusion_kk[c].sum()), int(confusion_kk[c, c])
    mistaken = confusion_kk[c].copy()
    mistaken[c] = 0
    most = int(mistaken.argmax())
    interval = (0.0, 1.0)
    if images:
        own = accuracy_interval(np.arange(images)[None] < right)
        interval = own.low, own.high
    taken = int(mistaken[most])
    return ClassRow(
        names[c], images, labelled, right, interval, names[most] if taken else "", taken
    )


def thumbnail(pixels_chw: Tensor) -> bytes:
    """An image (uint8, [1 or 3, height, width]) as JPEG; a small one is enlarged as it is."""
    from PIL import Image

    array = pixels_chw.permute(1, 2, 0).numpy()
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    factor = math.ceil(_SMALLEST / min(image.size))
    if factor > 1:
        size = image.width * factor, image.height * factor
        image = image.resize(size, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()
