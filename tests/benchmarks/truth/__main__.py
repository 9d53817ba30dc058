"""``python tests/benchmarks/truth``: does the verdict's rule find the truth? Into truth.md."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # tables, tasks and machine are those of the other benchmarks

from rich.console import Console  # noqa: E402

TABLE = HERE.parent / "truth.md"
PARTS = ("real", "luck", "sweeps", "controls", "worlds", "bounds", "helped", "model")
NO_DATA = "TLSWEEP_REAL_DATA is not set: of the real data only the embedded digits were measured."


def main() -> None:
    """Measure what was asked for."""
    asked = _arguments()
    screen, console = Console(stderr=True), Console()
    if not console.is_terminal:
        console.width = 160  # else tables fold at 80 columns
    given = os.environ.get("TLSWEEP_REAL_DATA")
    real = Path(given).expanduser().resolve() if given else None
    from controls import controls
    from luck import luck_of_labels
    from machine import machine
    from real import SETTINGS, replay
    from simulated import bounds, choices, helped, model_scores
    from table import Table
    from whole import whole_sweeps

    about, began = machine(), time.monotonic()
    tables: list[Table] = []
    with screen.status("starting") as status:
        on_real: dict[str, Callable[[], list[Table]]] = {
            "real": lambda: replay(SETTINGS, asked.draws, real, asked.kept, status.update),
            "luck": lambda: luck_of_labels(asked.draws, real, status.update),
            "sweeps": lambda: whole_sweeps(real, asked.kept, status.update),
            "controls": lambda: controls(status.update),
        }
        tables += [table for part in asked.part if part in on_real for table in on_real[part]()]
        for part, measure in (
            ("worlds", choices), ("bounds", bounds), ("helped", helped), ("model", model_scores)
        ):  # fmt: skip
            if part in asked.part:
                tables += measure(asked.studies, status.update)
    notes = [f"{about}; {time.monotonic() - began:.0f} s.", *([] if real else [NO_DATA])]
    if asked.kept:
        notes.append(
            "Answers of heads on real data and whole sweeps were kept from an earlier run: not in"
            " the seconds."
        )
    for table in tables:
        table.show(console)
    text = "\n\n".join([*(table.markdown() for table in tables), "\n".join(notes)])
    if asked.write:
        title = "# The truth, and what the verdict's rule finds of it"
        TABLE.write_text(f"{title}\n\n`nox -s truth` writes this.\n\n{text}\n")
    else:
        console.print(f"As Markdown:\n\n{text}", markup=False, highlight=False, soft_wrap=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/truth", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    parser.add_argument("--draws", type=int, help="of each real data set; default: its own number")
    parser.add_argument("--studies", type=int, default=400, help="simulated, of each kind")
    parser.add_argument("--kept", type=Path, help="a folder for answers, from run to run")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name}")
    asked = parser.parse_args()
    asked.part = asked.part or list(PARTS)
    return asked


if __name__ == "__main__":
    main()
