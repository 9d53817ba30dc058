"""``python tests/benchmarks``: measure, print tables, and the same as Markdown to paste."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from rich.console import Console
from tasks import EMBEDDED, IMAGE_SETS

SECTIONS = ("frozen", "folding", "tuned", "phases", "precision", "memory")
NO_DATA = "TLSWEEP_REAL_DATA is not set: only the embedded task was measured."


def main() -> None:
    """Measure what was asked for."""
    asked = _arguments()
    quiet, console = Console(stderr=True), Console()
    if not console.is_terminal:
        console.width = 160  # else tables fold at 80 columns
    given = os.environ.get("TLSWEEP_REAL_DATA")
    real = Path(given).expanduser().resolve() if given else None
    from effort import FULL, QUICK  # here and below: --help need not wait for torch
    from machine import machine
    from sections import measure

    about, began = machine(), time.monotonic()
    effort = QUICK if asked.quick else FULL
    tables = measure(asked.section, asked.task, real, effort, lambda text: quiet.print(text))
    notes = [about, *([] if real else [NO_DATA])]
    if asked.quick:
        notes.append("A quick run, to see that everything works: its numbers mean nothing.")
    for table in tables:
        table.show(console)
    console.print(f"{time.monotonic() - began:.0f} s in all. As Markdown:\n")
    text = "\n\n".join([*(table.markdown() for table in tables), "\n".join(notes)])
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/benchmarks", description=__doc__)
    known = (*IMAGE_SETS, EMBEDDED)
    parser.add_argument("--quick", action="store_true", help="a tiny sample of everything")
    parser.add_argument("--section", action="append", choices=SECTIONS, help="default: all")
    parser.add_argument("--task", action="append", choices=known, help="default: all")
    asked = parser.parse_args()
    asked.section = asked.section or list(SECTIONS)
    # two image sets run the same code: one is enough to see that it works
    asked.task = asked.task or list(known[:1] + known[-1:] if asked.quick else known)
    if not os.environ.get("TLSWEEP_REAL_DATA") and EMBEDDED not in asked.task:
        parser.error("image sets are read from the folder that TLSWEEP_REAL_DATA names")
    return asked


if __name__ == "__main__":
    main()
