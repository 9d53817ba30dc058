"""The target "manifest": a table of image files and what is true of each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from tlsweep.errors import Fault, Refusal, unknown_name
from tlsweep.section import Place
from tlsweep.target.answers import PARTS, Answers, read_answers
from tlsweep.target.base import Progress
from tlsweep.target.decode import MAX_PIXELS
from tlsweep.target.files import FileTarget, table_faults, title_of
from tlsweep.target.limits import FileSettings, OnError, Reading, Twins, ram_faults
from tlsweep.target.look import look_at
from tlsweep.target.several import some
from tlsweep.target.table import READERS, Columns, read_table
from tlsweep.task import Kind
from tlsweep.terms import Split

USUAL = {
    "input": ("path", "file", "filename", "image", "image_path", "img"),
    "label": ("label", "class", "target", "y", "category"),
    "split": ("split", "subset", "set"),
    "group": ("group", "patient", "subject", "case_id"),
}
"""What people call the columns, in small letters; the first that is there is taken."""
NONE = "none"  # target.split=none: the column of a usual name is not what it seems
_MISSING = 10  # image files named in a refusal


def _columns(value: Any) -> Any:
    parts = value if isinstance(value, list | tuple) else [value]
    if value is not None and (not parts or any(type(part) not in (int, str) for part in parts)):
        rule = "the value is a column by its name, or a list of columns"
        raise PydanticCustomError("columns", rule)
    return tuple(value) if isinstance(value, list) else value


class Settings(FileSettings):
    """conf/target/manifest.yaml."""

    name: Literal["manifest"]
    file: Place
    input: str | None
    label: Annotated[str | tuple[str, ...] | None, BeforeValidator(_columns)]
    split: str | None
    group: str | None
    kind: Kind | None

    @property
    def title(self) -> str:
        """The file's name, without its ending."""
        return title_of(str(Path(self.file).with_suffix("")))


@dataclass(frozen=True)
class Asked:
    """The columns that are named: for each use its names, None to look for usual ones."""

    input: str | None = None
    label: str | Sequence[str] | None = None
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Manifest:
    """A table, read: the files by what the table calls them, and what it says of each."""

    files: tuple[tuple[str, Path], ...]
    answers: Answers
    given: Mapping[Split, NDArray[np.int64]]
    groups: tuple[str, ...] | None
    said: tuple[str, ...]


def check(
    *,
    file: str | Path,
    input: str | None = None,  # noqa: A002 - as the setting
    label: str | Sequence[str] | None = None,
    split: str | None = None,
    group: str | None = None,
    kind: Kind | None = None,
    ram_gb: float = 4.0,
    on_error: OnError = "refuse",
    max_pixels: int = MAX_PIXELS,
    twins: Twins = "near",
    progress: Progress | None = None,
) -> None:
    """Raise Refusal with every fault that shows without decoding an image."""
    faults = [*ram_faults(ram_gb), *Reading(on_error, max_pixels, twins).faults()]
    try:
        read_manifest(file, Asked(input, label, split, group), kind, absent=on_error == "skip")
    except Refusal as refusal:
        faults += refusal.faults
    if faults:
        raise Refusal(*faults)


def open(  # noqa: A001  (always called as manifest.open)
    *,
    file: str | Path,
    input: str | None = None,  # noqa: A002
    label: str | Sequence[str] | None = None,
    split: str | None = None,
    group: str | None = None,
    kind: Kind | None = None,
    ram_gb: float = 4.0,
    on_error: OnError = "refuse",
    max_pixels: int = MAX_PIXELS,
    twins: Twins = "near",
    progress: Progress | None = None,
) -> FileTarget:
    """Open a table (.csv, .tsv, .jsonl, .parquet) with a row an image.

    input, label, split, group: columns, None to look for one of a usual name, "none" for no split
    and no group; label: several of them too; kind: of answers, None to see for oneself. Every image
    is read and decoded once. Raises Refusal with all faults of the table, or with the images that
    cannot be decoded, which ``on_error="skip"`` leaves out as it does those that are not there;
    then with the classes or labels of which none is left.
    """
    reading, columns = Reading(on_error, max_pixels, twins), Asked(input, label, split, group)
    if faults := [*ram_faults(ram_gb), *reading.faults()]:
        raise Refusal(*faults)
    found = read_manifest(file, columns, kind, absent=on_error == "skip")
    seen = look_at(found.files, f"target.file={file}", reading, progress)
    if len(seen.kept) < len(found.files):
        found = _used(found, read_manifest(file, columns, kind, rows=seen.kept))
    answers = found.answers
    digest = hashlib.sha256(f"{answers.task.kind} {answers.names} {found.groups}\n".encode())
    digest.update(seen.print_of(found.files))
    digest.update(answers.labels.tobytes())
    for part, rows in sorted(found.given.items()):
        digest.update(part.encode() + rows.tobytes())
    target = FileTarget(
        Path(file).stem, answers.names, answers.labels, digest.hexdigest()[:16], found.files,
        seen, found.given, ram_gb, answers.task, max_pixels,
    )  # fmt: skip
    target.said, target.groups = (*found.said, *target.said), found.groups
    return target


def read_manifest(
    file: str | Path,
    asked: Asked,
    kind: Kind | None,
    *,
    absent: bool = False,
    rows: Sequence[int] | None = None,
) -> Manifest:
    """Read a table and look for its files. Raises Refusal with every fault of it.

    absent: whether files may be; rows: those that are used, None for all.
    """
    if faults := table_faults(file, tuple(READERS)):
        raise Refusal(*faults)
    path = Path(file)
    table = read_table(path)
    if rows is not None:
        table = {name: [cells[i] for i in rows] for name, cells in table.items()}
    use = _uses(path, table, asked)
    columns = {name: table[name] for name in use["label"]}
    splits = [table[name] for name in use["split"]]
    given, faults = _given(use["split"][0], splits[0]) if splits else ({}, [])
    groups = [table[name] for name in use["group"]]
    faults += _no_group(use["group"][0], groups[0]) if groups else []
    cells = table[use["input"][0]]
    faults += [] if absent else _missing(path, use["input"][0], cells)
    answers = None
    try:
        answers = read_answers(columns, kind, given)
    except Refusal as refusal:
        faults += refusal.faults
    if faults or answers is None:
        raise Refusal(*faults)
    files = tuple((cell.strip(), path.parent / cell.strip()) for cell in cells)
    said = (*_assumed(use, asked), *answers.said)
    if groups:
        said += (
            f"{len({*groups[0]})} groups ({use['group'][0]}) are kept whole; intervals take images"
            " one by one: they are narrow where images of one group are alike",
        )
    return Manifest(files, answers, given, tuple(groups[0]) if groups else None, said)


def _used(whole: Manifest, found: Manifest) -> Manifest:
    """What is left of a table. Raises Refusal for a class or label of which nothing is."""
    left = {*found.answers.names}
    emptied = [name for name in whole.answers.names if name not in left]
    gone = sorted({*whole.given} - {*found.given})
    if emptied or gone:
        value = f"no image of {some([*emptied, *gone])} can be read"
        rule = "every class, label and split of the table has images"
        raise Refusal(Fault(value, rule, "save these images again, or leave out their rows"))
    return found


# ---------------------------------------------------------------------- columns
def _uses(path: Path, table: Columns, asked: Asked) -> dict[str, tuple[str, ...]]:
    """The columns of each use. Raises Refusal for those that are not there."""
    found: dict[str, tuple[str, ...]] = {}
    faults: list[Fault] = []
    for use, usual in USUAL.items():
        named = getattr(asked, use)
        if named is None:
            found[use] = _usual(table, usual)
            if not found[use] and use in ("input", "label"):
                faults.append(_unnamed(path, table, use, usual))
            continue
        if named == NONE and use in ("split", "group") and NONE not in table:
            found[use] = ()
            continue
        found[use] = (named,) if isinstance(named, str) else tuple(named)
        strange = [name for name in found[use] if name not in table]
        faults += [unknown_name("column", f"target.{use}", name, table) for name in strange]
    if faults:
        raise Refusal(*faults)
    return found


def _usual(table: Columns, usual: Sequence[str]) -> tuple[str, ...]:
    by_name = {name.lower(): name for name in table}
    return next(((by_name[name],) for name in usual if name in by_name), ())


def _unnamed(path: Path, table: Columns, use: str, usual: Sequence[str]) -> Fault:
    what = "image files" if use == "input" else "answers"
    return Fault(
        f"target.file={path}: which column has the {what}?",
        f"a column called {', '.join(usual)}, or the one that target.{use} names; here there are:"
        f" {', '.join(table)}",
        f"target.{use}=COLUMN",
    )


def _assumed(use: Mapping[str, Sequence[str]], asked: Asked) -> list[str]:
    """Which columns were taken because of their names."""
    taken = [
        f"target.{key}={names[0]}"
        for key, names in use.items()
        if getattr(asked, key) is None and names
    ]
    return [f"columns were found by their names: {' '.join(taken)}"] if taken else []


# ---------------------------------------------------------------------- cells
def _given(column: str, cells: Sequence[str]) -> tuple[dict[Split, NDArray[np.int64]], list[Fault]]:
    """The rows of each split, and what is wrong with the column."""
    words = [cell.strip().lower() for cell in cells]
    where, rule = f"target.split={column}", f"a split is one of: {', '.join(PARTS)}"
    leave = "target.split=none where it is something else"
    empty, faults = sum(not word for word in words), []
    if empty == len(words):
        return {}, []
    if empty:
        value = f"{where}: {empty} of {len(words)} rows have no split"
        faults.append(Fault(value, "where some rows have a split, all have one", "fill them"))
    if strange := sorted({word for word in words if word and word not in PARTS}):
        faults.append(Fault(f"{where} with {some(strange)}", rule, leave))
    parts = [PARTS.get(word) for word in words]
    given = {s: np.flatnonzero([part == s for part in parts]) for s in Split if s in parts}
    if given and Split.FIT not in given:
        value = f"{where} with {', '.join(sorted({*words} - {''}))}, and no train"
        faults.append(Fault(value, "beside val or test there is train", "train in its rows"))
    return given, faults


def _no_group(column: str, cells: Sequence[str]) -> list[Fault]:
    empty = sum(not cell.strip() for cell in cells)
    if not empty:
        return []
    value = f"target.group={column}: {empty} of {len(cells)} rows have no group"
    mend = "fill them, an own name for an image that is alone; or target.group=none"
    return [Fault(value, "every image is in a group", mend)]


def _missing(path: Path, column: str, cells: Sequence[str]) -> list[Fault]:
    gone = [cell for cell in cells if not (path.parent / cell.strip()).is_file()]
    if not gone:
        return []
    shown = some([cell or "(an empty cell)" for cell in gone], _MISSING)
    return [
        Fault(
            f"target.input={column}: {len(gone)} of {len(cells)} files are not there: {shown}",
            f"files by their paths, as seen from {path.parent}",
            "correct the paths, put the files there, or target.input=COLUMN for another column;"
            " target.on_error=skip leaves these rows out",
        )
    ]
