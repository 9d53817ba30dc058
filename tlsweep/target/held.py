"""The target "held": a torch Dataset that a Python program holds.

Given to ``tlsweep.sweep(target=...)``; a config names it by a key that this process made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal
from tlsweep.section import TargetSettings
from tlsweep.target.arrays import ArrayTarget
from tlsweep.target.base import Progress
from tlsweep.task import Classes, Labels, Numbers, Task
from tlsweep.task.numbers import spread_of

if TYPE_CHECKING:
    from torch.utils.data import Dataset


class Settings(TargetSettings):
    """conf/target/held.yaml."""

    name: Literal["held"]
    key: str


_HELD: dict[str, ArrayTarget] = {}


def hold(dataset: Dataset[Any], names: Sequence[str] | None = None) -> str:
    """Read a map-style dataset of (image, what is true) once, for this process's sweeps.

    Images are PIL images, uint8 arrays [h, w] or [h, w, 3], or tensors [1 or 3, h, w], uint8 or
    floats from 0 to 1, all of one size. What is true says the kind of task: a whole number is a
    class index, a list of as many 0 and 1 (or bools) as there are labels says which of them hold,
    a float or a list of floats are numbers, in the dataset's own ``unit`` where it has one. names:
    of classes, labels or numbers; default the dataset's own ``classes``, or numbered. Returns the
    key that ``target.key`` names it by. Raises Refusal for another item.
    """
    items = [dataset[i] for i in range(len(dataset))]  # type: ignore[arg-type]
    try:
        images = np.stack([_pixels(item[0]) for item in items])
        truth = np.stack([np.asarray(item[1]) for item in items])
        task = _task(truth, str(getattr(dataset, "unit", "")))
    except (TypeError, ValueError, IndexError) as error:
        raise Refusal(
            Fault(
                f"target={type(dataset).__name__}: {error}",
                "its items are (image, what is true), all images of one size, all truths of one"
                " kind: a class index, a list of 0 and 1, or finite numbers that vary",
                "a Dataset of PIL images, uint8 arrays or tensors from 0 to 1, not normalised",
            )
        ) from error
    given = names or getattr(dataset, "classes", None) or _numbered(task)
    truth = truth.reshape(len(truth), -1) if task.kind == "numbers" else truth
    target = ArrayTarget(
        type(dataset).__name__, tuple(map(str, given)), images, task.truth(truth), task=task
    )
    target.look_for_copies()
    _HELD[target.fingerprint] = target
    return target.fingerprint


def _task(truth: NDArray[Any], unit: str) -> Task:
    """The kind of task that what is true tells: [n] or [n, m] of whole numbers, bools, floats."""
    one_or_none = truth.ndim == 2 and bool(((truth == 0) | (truth == 1)).all())
    if truth.dtype.kind in "biuf" and one_or_none and truth.shape[1] > 1:
        return Labels(truth.shape[1])
    if truth.dtype.kind == "f" and truth.ndim in (1, 2):
        spread = spread_of(truth)
        if not np.isfinite(truth).all() or not spread > 0:
            raise ValueError("numbers that are not finite, or all the same")
        return Numbers(truth.size // len(truth), spread=spread, unit=unit)
    if truth.dtype.kind in "iu" and truth.ndim == 1:
        if truth.min() < 0:
            raise ValueError(f"class index {truth.min()}")
        return Classes(int(truth.max()) + 1)
    raise ValueError(f"truths of type {truth.dtype} and shape {truth.shape[1:]}")


def _numbered(task: Task) -> list[str]:
    if task.kind == "numbers":
        return ["number"] if task.n_outputs == 1 else [f"number{i}" for i in range(task.n_outputs)]
    return [str(i) for i in range(task.n_outputs)]


def _pixels(image: Any) -> NDArray[np.uint8]:
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)  # a tensor: channels first
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype != np.uint8:
        if array.min() < 0 or array.max() > 1:
            raise ValueError(f"an image with numbers from {array.min():.3g} to {array.max():.3g}")
        array = np.round(array * 255)
    pixels: NDArray[np.uint8] = array.astype(np.uint8)
    return pixels


def check(*, key: str, progress: Progress | None = None) -> None:
    """Raise Refusal for a key that this process has not made."""
    if key not in _HELD:
        raise Refusal(
            Fault(
                f"target=held target.key={key}",
                "a dataset that a Python program holds is given by that program",
                "tlsweep.sweep(model=MODEL, target=DATASET) in Python, or another target",
            )
        )


def open(*, key: str, progress: Progress | None = None) -> ArrayTarget:  # noqa: A001
    """The dataset that ``key`` names. Raises Refusal where this process has none of it."""
    check(key=key)
    return _HELD[key]
