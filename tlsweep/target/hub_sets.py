"""The target "hf": images or texts of Hugging Face's library datasets, from a folder or the hub.

No code of a data set is run: that library has read none since its version 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tlsweep.errors import Fault, Refusal
from tlsweep.section import NameOrFolder
from tlsweep.target.answers import PARTS
from tlsweep.target.base import Progress, Target
from tlsweep.target.columns import Asked, ColumnNames, Given, Rows, read_rows, uses
from tlsweep.target.decode import MAX_PIXELS
from tlsweep.target.files import FileTarget, left_of, title_of
from tlsweep.target.limits import DISK_GB, FileSettings, OnError, Reading, Twins, ram_faults
from tlsweep.target.look import look_at
from tlsweep.target.table import as_text
from tlsweep.target.text import empty
from tlsweep.target.texts import TextTarget
from tlsweep.task import Kind
from tlsweep.terms import Split

USUAL = {
    "input": ("image", "img", "picture", "text", "sentence", "content", "document", "review",
              "question", "tweet"),
    "label": ("label", "labels", "class", "target", "y", "category", "sentiment"),
    "group": ("group", "patient", "subject", "author", "user", "document_id"),
}  # fmt: skip
"""What people call the columns, in small letters; the first that is there is taken."""
_SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk leaves beside the data


class Settings(FileSettings):
    """conf/target/hf.yaml."""

    name: Literal["hf"]
    dataset: NameOrFolder
    config: str | None
    input: str | None
    label: ColumnNames
    group: str | None
    kind: Kind | None
    download: bool

    @property
    def title(self) -> str:
        """The last part of its name, or the folder's."""
        return title_of(self.dataset)


@dataclass(frozen=True)
class Cell:
    """An image in a table of the library, as a file."""

    part: Any
    row: int
    column: str

    def read_bytes(self) -> bytes:
        """The file as it was put in. Raises OSError where the table only names a file, now gone."""
        stored = self.part[self.row][self.column]
        content: bytes | None = stored and stored["bytes"]
        if content is None:
            return Path(stored["path"]).read_bytes() if stored else b""
        return content


@dataclass(frozen=True)
class Found:
    """A data set, read but for its images.

    parts: its tables, one below the other; column: of the examples; is_image: what these are; said:
    what was left out.
    """

    parts: Mapping[str, Any]
    rows: Rows
    column: str
    is_image: bool
    said: tuple[str, ...]


def check(
    *,
    dataset: str,
    config: str | None = None,
    input: str | None = None,  # noqa: A002 - as the setting
    label: str | Sequence[str] | None = None,
    group: str | None = None,
    kind: Kind | None = None,
    download: bool = False,
    ram_gb: float = 4.0,
    disk_gb: float = DISK_GB,
    on_error: OnError = "refuse",
    max_pixels: int = MAX_PIXELS,
    twins: Twins = "near",
    progress: Progress | None = None,
) -> None:
    """Raise Refusal with every fault that shows without decoding an image."""
    faults = [*ram_faults(ram_gb, disk_gb), *Reading(on_error, max_pixels, twins).faults()]
    try:
        _read(dataset, config, Asked(input, label, None, group), kind, download)
    except Refusal as refusal:
        faults += refusal.faults
    if faults:
        raise Refusal(*faults)


def open(  # noqa: A001  (always called as hub_sets.open)
    *,
    dataset: str,
    config: str | None = None,
    input: str | None = None,  # noqa: A002
    label: str | Sequence[str] | None = None,
    group: str | None = None,
    kind: Kind | None = None,
    download: bool = False,
    ram_gb: float = 4.0,
    disk_gb: float = DISK_GB,
    on_error: OnError = "refuse",
    max_pixels: int = MAX_PIXELS,
    twins: Twins = "near",
    progress: Progress | None = None,
) -> Target:
    """Open a data set by its name in the hub's cache, or from a folder; its splits are given.

    A folder is one that ``save_to_disk`` wrote, or one of tables. input, label, group: columns,
    None to look for one of a usual name; kind: of answers, None to see for oneself; download: fetch
    what the cache does not have. Raises Refusal with all faults.
    """
    reading = Reading(on_error, max_pixels, twins)
    if faults := [*ram_faults(ram_gb, disk_gb), *reading.faults()]:
        raise Refusal(*faults)
    found = _read(dataset, config, Asked(input, label, None, group), kind, download)
    if found.is_image:
        return _of_images(dataset, found, reading, (ram_gb, disk_gb), progress)
    rows = found.rows
    names, labels = rows.answers.names, rows.answers.labels
    name, task = title_of(dataset), rows.answers.task
    target = TextTarget(name, names, rows.inputs, labels, rows.given, task, rows.groups)
    target.said = (*found.said, *rows.said)
    return target


def _of_images(
    dataset: str,
    found: Found,
    reading: Reading,
    room: tuple[float, float],
    progress: Progress | None,
) -> FileTarget:
    files = [
        (f"{name} {i}", Cell(part, i, found.column))
        for name, part in found.parts.items()
        for i in range(len(part))
    ]
    seen = look_at(files, f"target.dataset={dataset}", reading, progress)
    kept = np.array(seen.kept, dtype=np.int64)
    answers, rows = found.rows.answers, found.rows
    labels, used = answers.labels[kept], [files[i] for i in seen.kept]
    groups = None if rows.groups is None else tuple(rows.groups[i] for i in seen.kept)
    digest = hashlib.sha256(f"{answers.task.kind} {answers.names} {groups}\n".encode())
    digest.update(seen.print_of(used) + labels.tobytes())
    target = FileTarget(
        title_of(dataset), answers.names, labels, digest.hexdigest()[:16], used, seen,
        left_of(rows.given, kept), room[0], answers.task, reading.max_pixels, room[1], progress,
    )  # fmt: skip
    target.said, target.groups = (*found.said, *rows.said, *target.said), groups
    return target


# ---------------------------------------------------------------------- the library
def _read(
    dataset: str, config: str | None, asked: Asked, kind: Kind | None, download: bool
) -> Found:
    """Read all but the images. Raises Refusal with every fault."""
    where = f"target.dataset={dataset}" + (f" target.config={config}" if config else "")
    parts, split_of, said = _parts(where, _loaded(where, dataset, config, download))
    features = next(iter(parts.values())).features
    wanted = uses(where, {name: [] for name in features}, asked, USUAL, "images or texts")
    used = {name for names in wanted.values() for name in names}
    (column,) = wanted["input"]
    is_image = _is_image(column, features)
    parts, given, unlabelled = _labelled(parts, split_of, features, wanted["label"])
    table = {
        name: [cell for part in parts.values() for cell in _cells(part, name, features[name])]
        if name in used
        else []
        for name in features
    }
    things = "images" if is_image else "texts"
    rows = read_rows(
        where, table, asked, USUAL, kind, inputs=things, things=things, given=given,
        wrong=(lambda *_: []) if is_image else empty,
    )  # fmt: skip
    return Found(_undecoded(parts, column) if is_image else parts, rows, column, is_image,
                 (*said, *unlabelled))  # fmt: skip


def _loaded(where: str, dataset: str, config: str | None, download: bool) -> dict[str, Any]:
    """The tables of a data set, by their splits."""
    try:
        import datasets
    except ImportError as error:
        rule = "data sets of Hugging Face need the package datasets"
        raise Refusal(Fault("target=hf", rule, "pip install 'tlsweep[datasets]'")) from error
    folder = Path(dataset)
    try:
        with _quiet(offline=not download):
            if any((folder / name).is_file() for name in _SAVED):
                found = datasets.load_from_disk(dataset)
            else:
                found = datasets.load_dataset(dataset, config)
    except Exception as error:  # by where the library notices, of any kind
        lines = str(error).strip().splitlines() or ["no further word"]
        raise _not_had(f"{where} ({type(error).__name__}: {lines[0]})", folder, download) from error
    return dict(found) if isinstance(found, dict) else {str(found.split or "train"): found}


def _not_had(value: str, folder: Path, download: bool) -> Refusal:
    if folder.is_dir():
        rule = "a folder that save_to_disk wrote, or one of tables: train.parquet, test.parquet"
        return Refusal(Fault(value, rule, "target.dataset=FOLDER, or target.config=NAME"))
    rule = "a name that the cache of datasets has, of a data set without code of its own"
    fetch = "" if download else "target.download=true fetches it; "
    mend = f"{fetch}a folder: target.dataset=FOLDER; of several configs one: target.config=NAME"
    return Refusal(Fault(value, rule, mend))


@contextmanager
def _quiet(*, offline: bool) -> Iterator[None]:
    """Without the library's bars and lines, and without asking the hub where ``offline``."""
    import datasets
    from datasets.utils import logging

    bars, level = datasets.are_progress_bars_disabled(), logging.get_verbosity()
    before = datasets.config.HF_HUB_OFFLINE
    datasets.disable_progress_bars()
    logging.set_verbosity(logging.CRITICAL)
    datasets.config.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
        logging.set_verbosity(level)
        if not bars:
            datasets.enable_progress_bars()


# ---------------------------------------------------------------------- splits
def _parts(
    where: str, tables: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Split], list[str]]:
    """The tables that are used, the split of each, and what is said of the others."""
    if len(tables) == 1:
        return tables, {}, []
    split_of: dict[str, Split] = {}
    for name in tables:
        split = PARTS.get(name.lower())
        if split is not None and split not in split_of.values():
            split_of[name] = split
    if Split.FIT not in split_of.values():
        value = f"{where} with the splits {', '.join(tables)}, and no train"
        raise Refusal(Fault(value, "beside other splits there is train", "another target.config"))
    said = [
        f"split {name} is left out with its {len(table)} rows: none of train, validation, test"
        for name, table in tables.items()
        if name not in split_of
    ]
    return {name: tables[name] for name in split_of}, split_of, said


def _labelled(
    parts: dict[str, Any],
    split_of: dict[str, Split],
    features: Mapping[str, Any],
    columns: Sequence[str],
) -> tuple[dict[str, Any], Given, list[str]]:
    """The parts that have labels, the rows of each split, and what is said of the others."""
    empty_ones = [
        name
        for name, part in parts.items()
        if not any(any(_cells(part, column, features[column])) for column in columns)
    ]
    said = [f"split {name} is left out: it has no labels" for name in empty_ones]
    used = {name: part for name, part in parts.items() if name not in empty_ones} or parts
    ends = np.cumsum([0, *(len(part) for part in used.values())])
    given: Given = {
        split_of[name]: np.arange(ends[i], ends[i + 1], dtype=np.int64)
        for i, name in enumerate(used)
        if name in split_of
    }
    return used, {} if set(given) == {Split.FIT} else given, said if used is not parts else []


# ---------------------------------------------------------------------- columns
def _is_image(column: str, features: Mapping[str, Any]) -> bool:
    """Whether a column holds images. Raises Refusal where it holds neither images nor texts."""
    from datasets import Image

    kind = features[column]
    if isinstance(kind, Image):
        return True
    if getattr(kind, "dtype", None) in ("string", "large_string"):
        return False
    known = ", ".join(f"{name} ({type(one).__name__})" for name, one in features.items())
    rule = f"images or texts; here there are: {known}"
    raise Refusal(Fault(f"target.input={column} holds {kind}", rule, "target.input=COLUMN"))


def _cells(part: Any, column: str, kind: Any) -> list[str]:
    """The cells of a column as text, classes by their names; of images the numbers of the rows."""
    from datasets import ClassLabel, Image

    if isinstance(kind, Image):
        return [str(i) for i in range(len(part))]
    cells: list[Any] = part.select_columns([column]).with_format(None)[:][column]
    if isinstance(kind, ClassLabel):  # -1 and nothing at all: not told, as in many a test split
        return ["" if c is None or c < 0 else kind.int2str(c) for c in cells]
    if isinstance(inner := getattr(kind, "feature", None), ClassLabel):
        return [as_text(inner.int2str(cell)) for cell in cells]
    return [as_text(cell) for cell in cells]


def _undecoded(parts: Mapping[str, Any], column: str) -> dict[str, Any]:
    from datasets import Image

    return {
        name: part.select_columns([column]).cast_column(column, Image(decode=False))
        for name, part in parts.items()
    }
