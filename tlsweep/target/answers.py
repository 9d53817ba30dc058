"""Answers as people write them down: columns of cells, read as classes, labels or numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal
from tlsweep.target.several import some
from tlsweep.task import Classes, Kind, Labels, Numbers, Task, Truth
from tlsweep.task.numbers import spread_of
from tlsweep.terms import Split

Columns = Mapping[str, Sequence[str]]
Given = Mapping[Split, NDArray[np.int64]]

PARTS = {
    **dict.fromkeys(("train", "training", "fit"), Split.FIT),
    **dict.fromkeys(("val", "valid", "validation", "dev", "select"), Split.SELECT),
    **dict.fromkeys(("test", "testing", "report"), Split.REPORT),
}
"""What people call the splits that data comes with, in small letters."""
MOST_CLASSES = 20  # different whole numbers; more are taken for numbers
KINDS = "classes, labels or numbers"
_WHOLE = re.compile(r"\s*[+-]?\d+\s*")
_YES, _NO = ("1", "true", "1.0"), ("0", "false", "0.0")


@dataclass(frozen=True)
class Answers:
    """What is true of each example, and how it was read.

    names: of classes, labels or numbers; labels: as the task has them; said: what was taken for
    granted.
    """

    task: Task
    names: tuple[str, ...]
    labels: Truth
    said: tuple[str, ...]


def read_answers(
    columns: Columns, kind: Kind | None, given: Given, thing: str = "image"
) -> Answers:
    """Read one column of answers, or several.

    columns: cells by the column's name; kind: what they are, None to see for oneself; given: rows
    of the splits that the data came with; thing: what an example is called. Raises Refusal with the
    faults found: empty cells, cells that are not of the kind, what cannot be learned, what only a
    split that is scored has.
    """
    columns = {name: [normalize("NFC", cell) for cell in cells] for name, cells in columns.items()}
    if kind != "labels" and (faults := _empty(columns, thing)):
        raise Refusal(*faults)
    said: tuple[str, ...] = ()
    if kind is None:
        kind, why = _seen(columns, thing)
        what = ", ".join(columns)
        said = (f"answers ({what}) are taken as {kind}: {why}; target.kind= names another kind",)
    return {"classes": _classes, "labels": _labels, "numbers": _numbers}[kind](
        columns, given, said, thing
    )


def _where(columns: Columns) -> str:
    names = list(columns)
    return f"target.label={names[0]}" if len(names) == 1 else f"target.label=[{','.join(names)}]"


def _rows(places: Sequence[int]) -> str:
    """Rows as people count them, the first one below the header is 1."""
    return f"row{'s' if len(places) > 1 else ''} {some([str(i + 1) for i in places])}"


def _empty(columns: Columns, thing: str) -> list[Fault]:
    faults = []
    for name, cells in columns.items():
        rows = [i for i, cell in enumerate(cells) if not cell.strip()]
        if rows:
            value = (
                f"target.label={name}: {len(rows)} of {len(cells)} cells are empty ({_rows(rows)})"
            )
            mend = "fill them or leave these rows out; target.kind=labels where it means no label"
            faults.append(Fault(value, f"every {thing} has an answer", mend))
    return faults


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _seen(columns: Columns, thing: str) -> tuple[Kind, str]:
    """The kind of answers that the cells look like, and why."""
    if len(columns) > 1:
        return _seen_of_several(columns, thing)
    ((_, cells),) = columns.items()
    if any("|" in cell or ";" in cell or _is_list(cell) for cell in cells):
        return "labels", "cells with several of them"
    different = len({*cells})
    if any(_number(cell) is None for cell in cells):
        return "classes", f"{different} different words"
    if not all(_WHOLE.fullmatch(cell) for cell in cells):
        return "numbers", "with a decimal point"
    kind: Kind = "classes" if different <= MOST_CLASSES else "numbers"
    return kind, f"{different} different whole numbers"


def _seen_of_several(columns: Columns, thing: str) -> tuple[Kind, str]:
    if all(cell.strip().lower() in _YES + _NO for cells in columns.values() for cell in cells):
        y = _yes(columns)
        one = f"; each {thing} has exactly one" if (y.sum(1) == 1).all() else ""
        return "labels", f"{len(columns)} columns of 0 and 1{one}"
    return "numbers", f"{len(columns)} columns"


def _is_list(cell: str) -> bool:
    return cell.strip().startswith("[")


# ---------------------------------------------------------------------- classes
def _classes(columns: Columns, given: Given, said: tuple[str, ...], thing: str) -> Answers:
    cells = _one_each(columns, thing) if len(columns) > 1 else next(iter(columns.values()))
    cells = [cell.strip() for cell in cells]
    names = tuple(sorted({*cells}, key=_in_order(cells)))
    place = {name: i for i, name in enumerate(names)}
    labels = np.array([place[cell] for cell in cells], dtype=np.int64)
    has = np.eye(len(names), dtype=bool)[labels]
    where = _where(columns)
    faults = [] if len(names) > 1 else [_constant(where, names[0] if names else "nothing", thing)]
    if alone := [names[i] for i in np.flatnonzero(has.sum(0) == 1)]:
        value = f"{where}, of which one {thing} has class {some(alone)}"
        mend = f"add {thing}s of these classes, or leave them out"
        rule = f"every class has several {thing}s: to train and to score"
        faults.append(Fault(value, rule, mend))
    faults += _strange(where, "class", names, has, given, thing)
    if faults:
        raise Refusal(*faults)
    return Answers(Classes(len(names)), names, labels, said)


def _in_order(cells: Sequence[str]) -> Callable[[str], tuple[float, str]]:
    """How classes are sorted: numbers by their value, words by their letters."""
    if any(_number(cell) is None for cell in cells):
        return lambda cell: (0.0, cell)
    return lambda cell: (float(cell), cell)


def _one_each(columns: Columns, thing: str) -> list[str]:
    """The name of the one column that holds 1."""
    several = all(c.strip().lower() in _YES + _NO for cells in columns.values() for c in cells)
    y = _yes(columns)
    wrong = np.flatnonzero(y.sum(1) != 1).tolist()
    if wrong or not several:
        which = f" ({_rows(wrong)})" if several else ""
        raise Refusal(
            Fault(
                f"target.kind=classes of {len(columns)} columns{which}",
                f"of several columns each {thing} has 1 in exactly one, and 0 in the others",
                "target.kind=labels, or one column in target.label",
            )
        )
    names = list(columns)
    return [names[i] for i in y.argmax(1)]


def _yes(columns: Columns) -> NDArray[np.bool_]:
    rows = [[cell.strip().lower() in _YES for cell in cells] for cells in columns.values()]
    return np.array(rows, dtype=bool).T


# ---------------------------------------------------------------------- labels
def _labels(columns: Columns, given: Given, said: tuple[str, ...], thing: str) -> Answers:
    where = _where(columns)
    if len(columns) > 1:
        names, has = tuple(columns), _yes(columns)
        faults = _no_switch(columns)
    else:
        cells = [_several(cell) for cell in next(iter(columns.values()))]
        faults = _no_list(where, cells)
        names = tuple(sorted({label for cell in cells for label in cell or ()}))
        place = {name: i for i, name in enumerate(names)}
        has = np.zeros((len(cells), len(names)), dtype=bool)
        for row, cell in enumerate(cells):
            has[row, [place[label] for label in cell or ()]] = True
    if not faults:
        same = [name for name, of in zip(names, has.T, strict=True) if of.all() or not of.any()]
        faults += [_constant(f"{where}, label {some(same)}", "one answer", thing)] if same else []
        faults += _strange(where, "label", names, has, given, thing)
    if not names and not faults:
        faults = [_constant(where, "no label", thing)]
    if faults:
        raise Refusal(*faults)
    return Answers(Labels(len(names)), names, has, said)


def _several(cell: str) -> list[str] | None:
    """The labels of a cell; None where it is no list."""
    if not _is_list(cell):
        return [part.strip() for part in re.split(r"[|;]", cell) if part.strip()]
    try:
        found = json.loads(cell)
    except ValueError:
        return None
    return [str(label) for label in found]


def _no_list(where: str, cells: Sequence[list[str] | None]) -> list[Fault]:
    rows = [i for i, cell in enumerate(cells) if cell is None]
    if not rows:
        return []
    rule = 'labels of a cell are parted by | or ;, or a JSON list: ["a", "b"]'
    return [Fault(f"{where}: no list in {_rows(rows)}", rule, 'a|b, or ["a", "b"]')]


def _no_switch(columns: Columns) -> list[Fault]:
    faults = []
    for name, cells in columns.items():
        rows = [i for i, c in enumerate(cells) if c.strip().lower() not in _YES + _NO]
        if rows:
            value = f"target.label={name}: {cells[rows[0]]!r} in {_rows(rows)}"
            faults.append(Fault(value, "several columns of labels hold 0 or 1", "0, or 1"))
    return faults


# ---------------------------------------------------------------------- numbers
def _numbers(columns: Columns, given: Given, said: tuple[str, ...], thing: str) -> Answers:
    faults, found = [], []
    for name, cells in columns.items():
        numbers = [_number(cell) for cell in cells]
        bad = [i for i, x in enumerate(numbers) if x is None or not math.isfinite(x)]
        where = f"target.label={name}"
        if bad:
            value = f"{where}: {cells[bad[0]]!r} in {_rows(bad)}"
            mend = "correct these rows, or leave them out"
            faults.append(Fault(value, "numbers are finite", mend))
        elif len({*numbers}) < 2:
            faults.append(_constant(where, str(numbers[0]) if numbers else "nothing", thing))
        found.append(numbers)
    if faults:
        raise Refusal(*faults)
    labels = np.array(found, dtype=np.float64).T
    return Answers(Numbers(len(columns), spread=spread_of(labels)), tuple(columns), labels, said)


# ---------------------------------------------------------------------- what cannot be learned
def _constant(where: str, answer: str, thing: str) -> Fault:
    rule = f"there is something to tell apart: answers differ between {thing}s"
    return Fault(f"{where} is the same for all {thing}s ({answer})", rule, "another target.label")


def _strange(
    where: str,
    what: str,
    names: Sequence[str],
    has: NDArray[np.bool_],
    given: Given,
    thing: str,
) -> list[Fault]:
    """Classes or labels of a split that is scored, which train lacks. has: [n, names]."""
    if Split.FIT not in given:
        return []
    trained = has[given[Split.FIT]].any(0)
    faults = []
    for split in (Split.SELECT, Split.REPORT):
        if split in given and (more := np.flatnonzero(has[given[split]].any(0) & ~trained)).size:
            strange = some([names[i] for i in more.tolist()])
            value = f"{where}: {what} {strange} is in {split} and not in train"
            rule = f"every {what} of val (select) and test (report) has {thing}s in train"
            faults.append(Fault(value, rule, f"add training {thing}s of it, or leave it out"))
    return faults
