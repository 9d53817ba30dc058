"""Which column of a table is what: the input, the answers, the split, the group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from tlsweep.errors import Fault, Refusal, unknown_name
from tlsweep.target.answers import PARTS, Answers, read_answers
from tlsweep.target.several import some
from tlsweep.target.table import Columns
from tlsweep.task import Kind
from tlsweep.terms import Split

Given = dict[Split, NDArray[np.int64]]
NONE = "none"  # target.split=none: the column of a usual name is not what it seems


def _columns(value: Any) -> Any:
    parts = value if isinstance(value, list | tuple) else [value]
    if value is not None and (not parts or any(type(part) not in (int, str) for part in parts)):
        rule = "the value is a column by its name, or a list of columns"
        raise PydanticCustomError("columns", rule)
    return tuple(value) if isinstance(value, list) else value


ColumnNames = Annotated[str | tuple[str, ...] | None, BeforeValidator(_columns)]


@dataclass(frozen=True)
class Asked:
    """The columns that are named: for each use its names, None to look for usual ones."""

    input: str | None = None
    label: str | Sequence[str] | None = None
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Rows:
    """What a table says of its examples, a row each.

    inputs: a file or a text of each; groups: names of groups, None without; said: what was taken
    for granted.
    """

    inputs: list[str]
    answers: Answers
    given: Given
    groups: tuple[str, ...] | None
    said: tuple[str, ...]


def read_rows(
    where: str,
    table: Columns,
    asked: Asked,
    usual_names: Mapping[str, Sequence[str]],
    kind: Kind | None,
    *,
    inputs: str,
    things: str,
    wrong: Callable[[str, Sequence[str]], list[Fault]],
    given: Given | None = None,
) -> Rows:
    """Find the columns of a table and read them.

    where: the setting that names the table; usual_names: what people call the columns of each use,
    in small letters; kind: of answers, None to see for oneself; inputs: what is in the first
    column, in words; things: what examples are called; wrong: told the first column and its cells,
    says what is wrong with them; given: rows of the splits, None to look for their column. Raises
    Refusal with every fault.
    """
    use = uses(where, table, asked, usual_names, inputs)
    faults: list[Fault] = []
    if given is None:
        splits = [table[name] for name in use["split"]]
        given, faults = given_rows(use["split"][0], splits[0]) if splits else ({}, [])
    thing, groups = things.removesuffix("s"), [table[name] for name in use["group"]]
    faults += without_group(use["group"][0], groups[0], thing) if groups else []
    (column,) = use["input"]
    faults += wrong(column, table[column])
    answers = None
    try:
        answers = read_answers({name: table[name] for name in use["label"]}, kind, given, thing)
    except Refusal as refusal:
        faults += refusal.faults
    if faults or answers is None:
        raise Refusal(*faults)
    said = (*assumed(use, asked), *answers.said)
    if groups:
        said += (of_groups(use["group"][0], groups[0], things),)
    return Rows(table[column], answers, given, tuple(groups[0]) if groups else None, said)


def uses(
    where: str,
    table: Columns,
    asked: Asked,
    usual_names: Mapping[str, Sequence[str]],
    inputs: str,
) -> dict[str, tuple[str, ...]]:
    """The columns of each use: input, label, split, group.

    where: the setting that names the table; usual_names: what people call the columns, in small
    letters; the first that is there is taken; inputs: what is in the first. Raises Refusal for
    those that are not there.
    """
    found: dict[str, tuple[str, ...]] = {}
    faults: list[Fault] = []
    for use, usual in usual_names.items():
        named = getattr(asked, use)
        if named is None:
            found[use] = _usual(table, usual)
            if not found[use] and use in ("input", "label"):
                faults.append(_unnamed(where, table, use, usual, inputs))
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


def _unnamed(where: str, table: Columns, use: str, usual: Sequence[str], inputs: str) -> Fault:
    what = inputs if use == "input" else "answers"
    return Fault(
        f"{where}: which column has the {what}?",
        f"a column called {', '.join(usual)}, or the one that target.{use} names; here there are:"
        f" {', '.join(table)}",
        f"target.{use}=COLUMN",
    )


def assumed(use: Mapping[str, Sequence[str]], asked: Asked) -> list[str]:
    """Which columns were taken because of their names."""
    taken = [
        f"target.{key}={names[0]}"
        for key, names in use.items()
        if getattr(asked, key) is None and names
    ]
    return [f"columns were found by their names: {' '.join(taken)}"] if taken else []


# ---------------------------------------------------------------------- cells
def given_rows(
    column: str, cells: Sequence[str]
) -> tuple[dict[Split, NDArray[np.int64]], list[Fault]]:
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


def without_group(column: str, cells: Sequence[str], thing: str) -> list[Fault]:
    """What is wrong where some rows have no group. thing: what an example is called."""
    empty = sum(not cell.strip() for cell in cells)
    if not empty:
        return []
    value = f"target.group={column}: {empty} of {len(cells)} rows have no group"
    mend = "fill them, an own name for one that is alone; or target.group=none"
    return [Fault(value, f"every {thing} is in a group", mend)]


def of_groups(column: str, cells: Sequence[str], things: str) -> str:
    """What is said of groups. things: what examples are called."""
    return (
        f"{len({*cells})} groups ({column}) are kept whole; intervals take {things}"
        f" one by one: they are narrow where {things} of one group are alike"
    )
