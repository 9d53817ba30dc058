"""``python tests/benchmarks/zoo``: every model of the zoos, looked at. Into zoo.md, row by row."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # machine is that of the other benchmarks

TABLE = HERE.parent / "zoo.md"
TITLE = "# The zoo: what works with which model"
ABOUT = """`nox -s zoo` looks at the models that have no row yet; `--again` at all. Random weights.

- size: pixels, 64 where the model takes them; of texts, tokens
- way: how cut points are found (`fx`: traced; `calls`: of modules; `layers`: named by the source)
- exact: at how many cut points the rest of the model answers bit for bit what the model answers
- survey: one pass over all cut points, and a ridge head on each, on a few random examples
- tuned: one step of training of the upper half; frozen blocks stayed, tuned ones moved
- export: the whole model under a head, exported and read back, answers the same; texts with a mask
- s: seconds on one core
"""
FIRST = ("kind", "model")


def main() -> None:
    """Look at what was asked for."""
    asked = _arguments()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch
    from looks import COLUMNS, look
    from machine import machine
    from models import subjects

    torch.set_num_threads(1)
    warnings.simplefilter("default")
    logging.getLogger("torch.fx.experimental.symbolic_shapes").setLevel(logging.ERROR)
    columns = (*FIRST, *COLUMNS)
    rows, about = _rows(asked.table), machine()
    known = {tuple(row[:2]): row for row in rows}
    everything = [s for s in subjects() if asked.kind in (None, s.kind)]
    if asked.model:
        everything = [s for s in everything if s.name in asked.model]
    taken, began, order = 0, time.monotonic(), [(s.kind, s.name) for s in subjects()]
    for subject in everything:
        key = (subject.kind, subject.name)
        if key in known and not asked.again:
            continue
        if asked.limit is not None and taken >= asked.limit:
            break
        row = look(subject)
        taken += 1
        known[key] = [*key, *(row[column] for column in COLUMNS)]
        print(" | ".join(known[key]), flush=True)  # noqa: T201 - what a benchmark is for
        ordered = sorted(known.values(), key=lambda r: order.index((r[0], r[1])))
        asked.table.write_text(_text(columns, ordered, len(order), about))
    print(f"{taken} models in {time.monotonic() - began:.0f} s")  # noqa: T201


def _rows(table: Path) -> list[list[str]]:
    """The rows that the table has."""
    if not table.exists():
        return []
    lines = [line for line in table.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines[2:]]


def _text(columns: tuple[str, ...], rows: list[list[str]], total: int, about: str) -> str:
    lines = [_line(list(columns)), _line(["---"] * len(columns)), *map(_line, rows)]
    spent = sum(float(row[-2]) for row in rows if row[-2] != "-")
    note = f"{len(rows)} of {total} models, {spent / 60:.0f} minutes. {about}."
    return "\n".join([TITLE, "", ABOUT, note, "", *lines, ""])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", help="one kind of models only")
    parser.add_argument(
        "--model", action="append", help="one model only; several times for several"
    )
    parser.add_argument("--limit", type=int, help="so many models at most")
    parser.add_argument("--table", type=Path, default=TABLE, help="another file")
    parser.add_argument("--again", action="store_true", help="those that have a row, too")
    return parser.parse_args()


main()
