"""Tables as people have them: CSV, TSV, JSON lines and Parquet, read as columns of text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tlsweep.errors import Fault, Refusal
from tlsweep.target.several import some
from tlsweep.target.zipped import AnyPath

Columns = dict[str, list[str]]


def read_table(file: AnyPath) -> Columns:
    """The columns of a table, by their names, in its order; what is not there is an empty cell.

    Raises Refusal for a table that cannot be read, without rows, or with rows of other lengths.
    """
    try:
        columns = READERS[file.suffix.lower()](file)
    except (ValueError, csv.Error, OSError) as error:
        what = f"{type(error).__name__}: {error}"
        raise _refused(file, what, "a table in UTF-8, whole", "save it again") from error
    if not columns or not any(columns.values()):
        raise _refused(file, "no rows", "a header, and a row an image", "add rows")
    return columns


def _refused(file: AnyPath, value: str, rule: str, mend: str) -> Refusal:
    return Refusal(Fault(f"target.file={file}: {value}", rule, mend))


def _text(file: AnyPath) -> str:
    return file.read_bytes().decode("utf-8-sig")


def _csv(file: AnyPath) -> Columns:
    lines = io.StringIO(_text(file), newline="")
    first = lines.readline()
    lines.seek(0)
    # spreadsheets of many countries part cells by semicolons
    comma = ";" if ";" in first and "," not in first else ","
    return _parted(file, csv.reader(lines, delimiter=comma, strict=True))


def _tsv(file: AnyPath) -> Columns:
    lines = io.StringIO(_text(file), newline="")
    return _parted(file, csv.reader(lines, delimiter="\t", strict=True))


def _parted(file: AnyPath, reader: Iterator[list[str]]) -> Columns:
    names = [name.strip() for name in next(reader, [])]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _refused(file, f"column {some(twice)} twice", "names differ", "rename one of them")
    rows = [row for row in reader if row]
    wrong = [str(i + 1) for i, row in enumerate(rows) if len(row) != len(names)]
    if wrong:
        rule = f"a row has {len(names)} cells, as many as the header"
        raise _refused(file, f"row {some(wrong)} has another number of cells", rule,
                       "put cells with separators into double quotes")  # fmt: skip
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _json_lines(file: AnyPath) -> Columns:
    items = []
    for number, line in enumerate(_text(file).splitlines(), 1):
        if line.strip():
            item = json.loads(line)
            if not isinstance(item, dict):
                rule = 'a line is a JSON object: {"path": "a.jpg", "label": "cat"}'
                raise _refused(file, f"line {number} is no object", rule, "correct that line")
            items.append(item)
    return _of_items(items)


def _parquet(file: AnyPath) -> Columns:
    try:
        from pyarrow import parquet
    except ImportError as error:
        rule = "Parquet is read by pyarrow"
        raise _refused(file, "no pyarrow here", rule, "pip install pyarrow, or a .csv") from error
    return _of_items(parquet.read_table(io.BytesIO(file.read_bytes())).to_pylist())


def _of_items(items: Sequence[Mapping[str, Any]]) -> Columns:
    names = dict.fromkeys(name for item in items for name in item)
    return {name: [as_text(item.get(name)) for item in items] for name in names}


def as_text(value: Any) -> str:
    """A cell as text; what is not there is empty, several things are a JSON list."""
    if value is None or value != value:  # not a number: how tables of programs say that it lacks
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


READERS: Mapping[str, Callable[[AnyPath], Columns]] = {
    ".csv": _csv, ".tsv": _tsv, ".jsonl": _json_lines, ".parquet": _parquet,
}  # fmt: skip
