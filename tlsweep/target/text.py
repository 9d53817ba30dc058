"""The target "text": a table of texts and what is true of each, or a folder of such tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal
from tlsweep.section import Place, TargetSettings
from tlsweep.target.answers import PARTS
from tlsweep.target.base import Progress
from tlsweep.target.columns import Asked, ColumnNames, Given, read_rows
from tlsweep.target.files import table_at, title_of
from tlsweep.target.several import some
from tlsweep.target.table import READERS, Columns, read_table
from tlsweep.target.texts import TextTarget
from tlsweep.target.zipped import AnyPath, file_of, is_of_a_tool, place_of, walk
from tlsweep.task import Kind
from tlsweep.terms import Split

USUAL = {
    "input": ("text", "sentence", "content", "document", "review", "question", "tweet"),
    "label": ("label", "class", "target", "y", "category", "sentiment"),
    "split": ("split", "subset", "set"),
    "group": ("group", "author", "user", "document_id"),
}
"""What people call the columns, in small letters; the first that is there is taken."""


class Settings(TargetSettings):
    """conf/target/text.yaml."""

    from_files: ClassVar = "file"

    name: Literal["text"]
    file: Place
    input: str | None
    label: ColumnNames
    split: str | None
    group: str | None
    kind: Kind | None

    @property
    def title(self) -> str:
        """The file's or the folder's name, without an ending."""
        return title_of(str(Path(self.file).with_suffix("")))


def check(
    *,
    file: str | Path,
    input: str | None = None,  # noqa: A002 - as the setting
    label: str | Sequence[str] | None = None,
    split: str | None = None,
    group: str | None = None,
    kind: Kind | None = None,
    progress: Progress | None = None,
) -> None:
    """Raise Refusal with every fault of the table."""
    open(file=file, input=input, label=label, split=split, group=group, kind=kind)


def open(  # noqa: A001  (always called as text.open)
    *,
    file: str | Path,
    input: str | None = None,  # noqa: A002
    label: str | Sequence[str] | None = None,
    split: str | None = None,
    group: str | None = None,
    kind: Kind | None = None,
    progress: Progress | None = None,
) -> TextTarget:
    """Open a table (.csv, .tsv, .jsonl, .parquet) with a row a text, or a folder of such tables.

    In a folder a table is a split, by its name: ``train.tsv``, ``val.tsv``, ``test.tsv``. input,
    label, split, group: columns, None to look for one of a usual name, "none" for no split and no
    group; kind: of answers, None to see for oneself. Raises Refusal with all faults.
    """
    asked, path = Asked(input, label, split, group), Path(file)
    folder = _of_splits(path)
    table, given, left_out = (_table(path), None, ()) if folder is None else _folder(folder)
    found = read_rows(
        f"target.file={path}",
        table,
        asked,
        USUAL,
        kind,
        inputs="texts",
        things="texts",
        wrong=empty,
        given=given,
    )
    answers = found.answers
    target = TextTarget(
        path.stem,
        answers.names,
        found.inputs,
        answers.labels,
        found.given,
        answers.task,
        found.groups,
    )
    target.said = (*found.said, *left_out)
    return target


def texts_of(file: Path, column: str | None = None) -> list[str]:
    """The texts of a table, whatever else is in it. column: None to look for a usual name.

    Raises Refusal for a table without such a column.
    """
    table = _table(file)
    by_name = {name.lower(): name for name in table}
    found = column or next((by_name[name] for name in USUAL["input"] if name in by_name), None)
    if found is None or found not in table:
        rule = f"a column called {', '.join(USUAL['input'])}; here there are: {', '.join(table)}"
        raise Refusal(Fault(f"{file}: which column has the texts?", rule, "input=COLUMN"))
    return table[found]


def _table(file: Path) -> Columns:
    return read_table(table_at(file, tuple(READERS)))


def _of_splits(path: Path) -> AnyPath | None:
    """The folder whose tables are splits, perhaps in a zip; None where a table is meant."""
    if path.is_dir():
        return path
    if path.is_file() and path.suffix.lower() == ".zip":
        found = [here for here, _, files in walk(place_of(path)) if _part_of(files, Split.FIT)]
        return found[0] if len(found) == 1 else None
    place = file_of(path)
    return place if place.is_dir() else None


def _part_of(names: Iterable[str], part: Split) -> list[str]:
    """Those of the names that are of tables of this split."""
    tables = (name for name in sorted(names) if Path(name).suffix.lower() in READERS)
    return [name for name in tables if PARTS.get(Path(name).stem.lower()) is part]


def _folder(folder: AnyPath) -> tuple[Columns, Given, tuple[str, ...]]:
    """The tables of a folder as one, the rows of each, and what is left out, in words.

    Raises Refusal where they differ.
    """
    names = sorted(entry.name for entry in folder.iterdir() if not is_of_a_tool(entry.name))
    files = _split_files(folder, names)
    tables = {part: read_table(file) for part, file in files.items()}
    first = tables[Split.FIT]
    faults = [
        Fault(
            f"{files[part]} has the columns {', '.join(table)}",
            f"tables of one folder have the same columns: {', '.join(first)}",
            "rename them",
        )
        for part, table in tables.items()
        if set(table) != set(first)
    ]
    if faults:
        raise Refusal(*faults)
    whole: Columns = {name: [] for name in first}
    given: Given = {}
    for part, table in tables.items():
        rows = len(next(iter(table.values())))
        start = len(next(iter(whole.values())))
        given[part] = np.arange(start, start + rows)
        for name, cells in table.items():
            whole[name] += cells
    others = sorted(set(names) - {file.name for file in files.values()})
    left_out = (f"left out of the folder: {some(others)}",) if others else ()
    return whole, _several(given), left_out


def _split_files(folder: AnyPath, names: Sequence[str]) -> dict[Split, AnyPath]:
    """The table of each split. Raises Refusal for two of one, and without one to learn from."""
    parts = {part: _part_of(names, part) for part in Split}
    faults = [
        Fault(
            f"target.file={folder}: {' and '.join(twice)}",
            "one table a split, by its name",
            "leave one out, or target.file=FILE for one table",
        )
        for twice in parts.values()
        if len(twice) > 1
    ]
    if not parts[Split.FIT]:
        rule = f"there tables are splits, by their names: train, val, test ({', '.join(READERS)})"
        value = f"target.file={folder}: a folder without a table called train"
        faults.append(Fault(value, rule, "target.file=FILE for one table"))
    if faults:
        raise Refusal(*faults)
    return {part: folder / found[0] for part, found in parts.items() if found}


def _several(given: Mapping[Split, NDArray[np.int64]]) -> Given:
    """The splits that are given: none where there is train alone."""
    return {} if set(given) == {Split.FIT} else dict(given)


def empty(column: str, texts: Sequence[str]) -> list[Fault]:
    """What is wrong with texts that have no words."""
    rows = [str(i + 1) for i, text in enumerate(texts) if not text.strip()]
    if not rows:
        return []
    value = f"target.input={column}: {len(rows)} of {len(texts)} texts are empty (row {some(rows)})"
    return [Fault(value, "a text has words", "leave these rows out, or target.input=COLUMN")]
