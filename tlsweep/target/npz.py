"""The target "arrays": images and answers in a NumPy file (.npz)."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal, unknown_name
from tlsweep.section import Place, TargetSettings
from tlsweep.target.answers import PARTS, Answers, read_answers
from tlsweep.target.arrays import ArrayTarget
from tlsweep.target.base import Progress
from tlsweep.target.files import table_faults, title_of
from tlsweep.target.limits import Twins, twins_faults
from tlsweep.task import Kind
from tlsweep.terms import Split

USUAL = {
    "input": ("images", "image", "x", "data", "pixels"),
    "label": ("labels", "label", "y", "targets", "target"),
}
"""What people call the arrays, in small letters: alone, or with a split before or after it."""
ORDER = (None, Split.FIT, Split.SELECT, Split.REPORT)
Keys = dict[Split | None, str]
Array = NDArray[Any]


class Settings(TargetSettings):
    """conf/target/arrays.yaml."""

    from_files: ClassVar = "file"

    name: Literal["arrays"]
    file: Place
    input: str | None
    label: str | None
    kind: Kind | None
    twins: Twins

    @property
    def title(self) -> str:
        """The file's name, without its ending."""
        return title_of(str(Path(self.file).with_suffix("")))


@dataclass(frozen=True)
class _Stored:
    """Arrays of a file, and which rows of them, one below the other, each split has."""

    images: list[Array]
    answers: Answers
    given: Mapping[Split, NDArray[np.int64]]
    said: tuple[str, ...]


def check(
    *,
    file: str | Path,
    input: str | None = None,  # noqa: A002 - as the setting
    label: str | None = None,
    kind: Kind | None = None,
    twins: Twins = "near",
    progress: Progress | None = None,
) -> None:
    """Raise Refusal with every fault of the file and of its answers."""
    _refuse_twins(twins)
    _read(Path(file), input, label, kind)


def open(  # noqa: A001  (always called as npz.open)
    *,
    file: str | Path,
    input: str | None = None,  # noqa: A002
    label: str | None = None,
    kind: Kind | None = None,
    twins: Twins = "near",
    progress: Progress | None = None,
) -> ArrayTarget:
    """Open a .npz file of images [n, h, w], [n, h, w, c] or [n, c, h, w], and their answers.

    input, label: keys, or what keys of splits have in common (``x`` of ``x_train``), None to look
    for usual ones; kind: of answers, None to see for oneself. Images of other types than uint8 are
    scaled from the range of all of them. Raises Refusal with the faults found.
    """
    _refuse_twins(twins)
    path = Path(file)
    found = _read(path, input, label, kind)
    images, said = _as_bytes(path, found.images)
    answers = found.answers
    target = ArrayTarget(
        path.stem, answers.names, images, answers.labels, found.given, task=answers.task
    )
    target.said, target.scaled = (*found.said, *said, *answers.said), bool(said)
    if twins == "near":
        target.look_for_copies(progress)
    return target


def _refuse_twins(twins: str) -> None:
    if faults := twins_faults(twins):
        raise Refusal(*faults)


def _read(
    path: Path, asked_input: str | None, asked_label: str | None, kind: Kind | None
) -> _Stored:
    if faults := table_faults(path, (".npz",)):
        raise Refusal(*faults)
    with _stored(path) as arrays:
        inputs = _keys(path, arrays, "input", asked_input)
        labels = _keys(path, arrays, "label", asked_label)
        if {*inputs} != {*labels} or (None not in inputs and Split.FIT not in inputs):
            raise _unlike(path, inputs, labels)
        parts = [part for part in ORDER if part in inputs]
        pixels = [arrays[inputs[part]] for part in parts]
        truths = [arrays[labels[part]] for part in parts]
    keys = [inputs[part] for part in parts]
    images = [_channels_last(path, key, x) for key, x in zip(keys, pixels, strict=True)]
    _refuse_unlike(path, keys, images, truths)
    ends = np.cumsum([0, *(len(one) for one in images)])
    given = {
        part: np.arange(ends[i], ends[i + 1]) for i, part in enumerate(parts) if part is not None
    }
    columns = _columns(path, labels[parts[0]], np.concatenate(truths))
    answers = read_answers(columns, kind, given)
    taken = [*inputs.values(), *labels.values()]
    said = (f"images and answers were found by the names of their arrays: {', '.join(taken)}",)
    return _Stored(images, answers, given, () if asked_input and asked_label else said)


@contextmanager
def _stored(path: Path) -> Iterator[Mapping[str, Array]]:
    """The arrays of a file, each read when it is asked for."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        rule = "a .npz file of numbers or text; what would have to be unpickled is not read"
        mend = f"np.savez({path.name!r}, x=images, y=labels)"
        raise _refused(path, f"{type(error).__name__}: {error}", rule, mend) from error


def _refused(path: Path, value: str, rule: str, mend: str) -> Refusal:
    return Refusal(Fault(f"target.file={path}: {value}", rule, mend))


# ---------------------------------------------------------------------- keys
def _keys(path: Path, arrays: Mapping[str, Array], use: str, asked: str | None) -> Keys:
    """The keys of the images or of the answers, by the split each is for; None: no splits."""
    for stem in USUAL[use] if asked is None else (asked.lower(),):
        if asked in arrays:
            return {None: str(asked)}
        if found := _of_stem(arrays, stem):
            return found
    if asked is not None:
        raise Refusal(unknown_name("key", f"target.{use}", asked, arrays))
    what = "the images" if use == "input" else "the answers"
    raise _refused(
        path,
        f"which array holds {what}?",
        f"a key called {', '.join(USUAL[use])}, alone or with train, val, test"
        f" ({USUAL[use][2]}_train), or the one that target.{use} names; here there are:"
        f" {', '.join(arrays)}",
        f"target.{use}=KEY",
    )


def _of_stem(arrays: Mapping[str, Array], stem: str) -> Keys:
    """Keys such as ``x_train`` and ``test_x``; where there are none, ``x``."""
    parts: Keys = {}
    for key in arrays:
        for word, part in PARTS.items():
            if key.lower() in (f"{word}_{stem}", f"{stem}_{word}"):
                parts.setdefault(part, key)
    return parts or next(({None: key} for key in arrays if key.lower() == stem), {})


def _unlike(path: Path, inputs: Keys, labels: Keys) -> Refusal:
    keys = f"images in {', '.join(inputs.values())}, answers in {', '.join(labels.values())}"
    rule = "each part of the images has its answers, and beside val or test there is train"
    return _refused(path, keys, rule, "target.input=KEY target.label=KEY, or add what lacks")


# ---------------------------------------------------------------------- arrays
def _channels_last(path: Path, key: str, x: Array) -> Array:
    """Images as [n, h, w] or [n, h, w, c]."""
    if x.dtype.kind in "buif" and x.size:
        if x.ndim == 3 or (x.ndim == 4 and x.shape[3] in (1, 3)):
            return x
        if x.ndim == 4 and x.shape[1] in (1, 3):
            return x.transpose(0, 2, 3, 1)
    raise _refused(
        path,
        f"{key} is {x.dtype} {list(x.shape)}",
        "images are numbers [n, height, width], [n, height, width, c] or [n, c, height, width],"
        " c 1 or 3",
        f"target.input=KEY, or {key}.reshape(...)",
    )


def _refuse_unlike(
    path: Path, keys: Sequence[str], images: Sequence[Array], truths: Sequence[Array]
) -> None:
    """Raise Refusal for parts that do not fit together."""
    sizes = {x.shape[1:] for x in images}
    if len(sizes) > 1 or len({x.dtype for x in images}) > 1:
        shapes = ", ".join(
            f"{k} {x.dtype} {list(x.shape)}" for k, x in zip(keys, images, strict=True)
        )
        rule = "images of all parts are of one size and one type"
        raise _refused(path, shapes, rule, "bring them to one before they are saved")
    for key, x, y in zip(keys, images, truths, strict=True):
        if y.ndim not in (1, 2) or len(y) != len(x) or y.shape[1:] != truths[0].shape[1:]:
            value = f"{len(x)} images in {key}, answers {list(y.shape)}"
            rule = "an answer an image: [n], or [n, k] of labels or numbers"
            raise _refused(path, value, rule, "target.label=KEY")


def _columns(path: Path, key: str, y: Array) -> dict[str, list[str]]:
    """Answers as columns of text."""
    if y.dtype.kind not in "buifUS":
        rule = "answers are numbers or text"
        raise _refused(path, f"{key} is {y.dtype}", rule, "target.label=KEY")
    y = y.astype(str) if y.dtype.kind == "S" else y.astype(int) if y.dtype.kind == "b" else y
    flat = y.reshape(len(y), -1)
    names = [key] if flat.shape[1] == 1 else [f"{key}[{i}]" for i in range(flat.shape[1])]
    return {
        name: [str(cell) for cell in column.tolist()]
        for name, column in zip(names, flat.T, strict=True)
    }


def _as_bytes(path: Path, parts: Sequence[Array]) -> tuple[NDArray[np.uint8], list[str]]:
    """Images of all parts as uint8, and what was taken for granted of their range."""
    lows, highs = [float(x.min()) for x in parts], [float(x.max()) for x in parts]
    low, high = min(lows), max(highs)
    if not np.isfinite([*lows, *highs]).all():
        bad = sum(int((~np.isfinite(x)).reshape(len(x), -1).any(1).sum()) for x in parts)
        rule = "pixels are finite numbers"
        raise _refused(path, f"{bad} images with pixels that are not", rule, "leave these out")
    if low == high:
        rule = "pixels differ"
        raise _refused(path, f"all pixels are {low:g}", rule, "target.input=KEY")
    if parts[0].dtype == np.uint8:
        return np.concatenate(parts), []
    scaled = [np.round((x.astype(np.float32) - low) * (255 / (high - low))) for x in parts]
    said = f"pixels of type {parts[0].dtype}, from {low:g} to {high:g}, are scaled to 0 to 255"
    return np.concatenate(scaled).astype(np.uint8), [said]
