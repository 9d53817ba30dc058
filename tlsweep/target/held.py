"""The target "held": a torch Dataset that a Python program holds.

Given to ``tlsweep.sweep(target=...)``; a config names it by a key that this process made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal
from tlsweep.target.arrays import ArrayTarget
from tlsweep.target.base import Progress

if TYPE_CHECKING:
    from torch.utils.data import Dataset

_HELD: dict[str, ArrayTarget] = {}


def hold(dataset: Dataset[Any], class_names: Sequence[str] | None = None) -> str:
    """Read a map-style dataset of (image, class index) once, for this process's sweeps.

    Images are PIL images, uint8 arrays [h, w] or [h, w, 3], or tensors [1 or 3, h, w], uint8 or
    floats from 0 to 1, all of one size. class_names: default the dataset's own ``classes``, or the
    numbers. Returns the key that ``target.key`` names it by. Raises Refusal for another item.
    """
    items = [dataset[i] for i in range(len(dataset))]  # type: ignore[arg-type]
    try:
        images = np.stack([_pixels(item[0]) for item in items])
        labels = np.array([int(item[1]) for item in items], dtype=np.int64)
    except (TypeError, ValueError, IndexError) as error:
        raise Refusal(
            Fault(
                f"target={type(dataset).__name__}: {error}",
                "its items are (image, class index), all images of one size",
                "a Dataset of PIL images, uint8 arrays or tensors from 0 to 1, not normalised",
            )
        ) from error
    count = int(labels.max(initial=-1)) + 1
    names = class_names or getattr(dataset, "classes", None) or [str(i) for i in range(count)]
    target = ArrayTarget(type(dataset).__name__, tuple(map(str, names)), images, labels)
    _HELD[target.fingerprint] = target
    return target.fingerprint


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
