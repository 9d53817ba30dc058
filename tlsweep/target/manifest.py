"""The target "manifest": a table of image files and what is true of each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal
from tlsweep.section import Place
from tlsweep.target.answers import Answers
from tlsweep.target.base import Progress
from tlsweep.target.columns import Asked, ColumnNames, read_rows
from tlsweep.target.decode import MAX_PIXELS
from tlsweep.target.files import FileTarget, table_at, title_of
from tlsweep.target.limits import DISK_GB, FileSettings, OnError, Reading, Twins, ram_faults
from tlsweep.target.look import look_at
from tlsweep.target.several import some
from tlsweep.target.table import READERS, read_table
from tlsweep.target.zipped import AnyPath, file_of
from tlsweep.task import Kind
from tlsweep.terms import Split

USUAL = {
    "input": ("path", "file", "filename", "image", "image_path", "img"),
    "label": ("label", "class", "target", "y", "category"),
    "split": ("split", "subset", "set"),
    "group": ("group", "patient", "subject", "case_id"),
}
"""What people call the columns, in small letters; the first that is there is taken."""
_MISSING = 10  # image files named in a refusal


class Settings(FileSettings):
    """conf/target/manifest.yaml."""

    from_files: ClassVar = "file"

    name: Literal["manifest"]
    file: Place
    input: str | None
    label: ColumnNames
    split: str | None
    group: str | None
    kind: Kind | None

    @property
    def title(self) -> str:
        """The file's name, without its ending."""
        return title_of(str(Path(self.file).with_suffix("")))


@dataclass(frozen=True)
class Manifest:
    """A table, read: the files by what the table calls them, and what it says of each."""

    files: tuple[tuple[str, AnyPath], ...]
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
    disk_gb: float = DISK_GB,
    on_error: OnError = "refuse",
    max_pixels: int = MAX_PIXELS,
    twins: Twins = "near",
    progress: Progress | None = None,
) -> None:
    """Raise Refusal with every fault that shows without decoding an image."""
    faults = [*ram_faults(ram_gb, disk_gb), *Reading(on_error, max_pixels, twins).faults()]
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
    disk_gb: float = DISK_GB,
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
    if faults := [*ram_faults(ram_gb, disk_gb), *reading.faults()]:
        raise Refusal(*faults)
    found = read_manifest(file, columns, kind, absent=on_error == "skip")
    seen = look_at(found.files, f"target.file={file}", reading, progress)
    if len(seen.kept) < len(found.files):
        found = _used(found, read_manifest(file, columns, kind, rows=seen.kept))
    answers = found.answers
    digest = hashlib.sha256(f"{answers.task.kind} {answers.names} {found.groups}\n".encode())
    digest.update(seen.print_of(found.files))
    digest.update(answers.labels.tobytes())
    target = FileTarget(
        Path(file).stem, answers.names, answers.labels, digest.hexdigest()[:16], found.files,
        seen, found.given, ram_gb, answers.task, max_pixels, disk_gb, progress,
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
    path = table_at(file, tuple(READERS))
    table = read_table(path)
    if rows is not None:
        table = {name: [cells[i] for i in rows] for name, cells in table.items()}
    found = read_rows(
        f"target.file={path}", table, asked, USUAL, kind, inputs="image files", things="images",
        wrong=lambda column, cells: [] if absent else _missing(path, column, cells),
    )  # fmt: skip
    files = tuple((cell.strip(), _file(path, cell)) for cell in found.inputs)
    return Manifest(files, found.answers, found.given, found.groups, found.said)


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


# ---------------------------------------------------------------------- cells
def _file(table: AnyPath, cell: str) -> AnyPath:
    """The file that a cell names, as seen from the folder of its table."""
    place = table.parent / cell.strip()
    return file_of(place) if isinstance(place, Path) else place


def _missing(path: AnyPath, column: str, cells: Sequence[str]) -> list[Fault]:
    gone = [cell for cell in cells if not _file(path, cell).is_file()]
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
