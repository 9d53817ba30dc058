"""``python tests/benchmarks/truth``: does the verdict's rule find the truth? Into truth.md."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # tables, tasks and machine are those of the other benchmarks

from rich.console import Console  # noqa: E402

TABLE = HERE.parent / "truth.md"
REPLAYED = ("real", "luck", "worlds", "bounds", "helped", "model", "coverage")
TRAINED = ("controls", "sweeps")  # half an hour, and some 80 minutes
PARTS = (*REPLAYED, *TRAINED)
TITLE = "# The truth, and what the verdict's rule finds of it"
ABOUT = "`nox -s truth` writes this, part by part; what trains: `-- --part controls --part sweeps`."
NO_DATA = "- TLSWEEP_REAL_DATA is not set: of the real data only the embedded digits were measured."
KEPT = "- Answers of heads and whole sweeps were kept from an earlier run: not in the seconds."


def main() -> None:
    """Measure what was asked for."""
    asked = _arguments()
    screen, console = Console(stderr=True), Console()
    if not console.is_terminal:
        console.width = 160  # else tables fold at 80 columns
    given = os.environ.get("TLSWEEP_REAL_DATA")
    real = Path(given).expanduser().resolve() if given else None
    from controls import controls
    from coverage import coverage
    from luck import luck_of_labels
    from machine import machine
    from real import SETTINGS, replay
    from simulated import bounds, choices, helped, model_scores
    from table import Table
    from whole import whole_sweeps

    found: dict[str, str] = {}
    with screen.status("starting") as status:
        say = status.update
        measure: dict[str, Callable[[], list[Table]]] = {
            "real": lambda: replay(SETTINGS, asked.draws, real, asked.kept, say),
            "luck": lambda: luck_of_labels(asked.draws, real, say),
            "sweeps": lambda: whole_sweeps(real, asked.kept, say),
            "controls": lambda: controls(say),
            "worlds": lambda: choices(asked.studies, say),
            "bounds": lambda: bounds(asked.studies, say),
            "helped": lambda: helped(asked.studies, say),
            "model": lambda: model_scores(asked.studies, say),
            "coverage": lambda: coverage(3 * asked.studies, say),
        }
        for part in asked.part:
            about, began = machine(), time.monotonic()
            tables = measure[part]()
            notes = [f"- {about}; {time.monotonic() - began:.0f} s."]
            if part in ("real", "luck", "sweeps") and real is None:
                notes.append(NO_DATA)
            if part in ("real", "sweeps") and asked.kept:
                notes.append(KEPT)
            for table in tables:
                table.show(console)
            found[part] = "\n\n".join([*(table.markdown() for table in tables), "\n".join(notes)])
            if asked.write:  # each as soon as it is there
                TABLE.write_text(put(TABLE.read_text() if TABLE.exists() else "", found))
    if not asked.write:
        console.print(f"As Markdown:\n\n{put('', found)}", markup=False, highlight=False,
                      soft_wrap=True)  # fmt: skip


def put(text: str, found: Mapping[str, str]) -> str:
    """The tables' file with the parts that were measured in place of what it had of them."""
    known = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=\n*^## |\n*\Z)", text, re.M | re.S))
    known |= found
    parts = [f"## {part}\n\n{known[part]}" for part in PARTS if part in known]
    return "\n\n".join([TITLE, ABOUT, *parts]) + "\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/truth", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS,
                        help=f"default: {', '.join(REPLAYED)}")  # fmt: skip
    parser.add_argument("--draws", type=int, help="of each real data set; default: its own number")
    parser.add_argument("--studies", type=int, default=400, help="simulated, of each kind")
    parser.add_argument("--kept", type=Path, help="a folder for answers, from run to run")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name}")
    asked = parser.parse_args()
    asked.part = asked.part or list(REPLAYED)
    return asked


if __name__ == "__main__":
    main()
