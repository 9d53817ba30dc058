"""``python tests/benchmarks/turns.py COMMIT``: is this tree as fast as that commit's?

Both are timed by turns in one run, each turn in a fresh process: what else the machine does falls
on both. Prints the medians, their ratio, and its spread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
TURN = Path(__file__).with_name("turn.py")


def main() -> None:
    """Time, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("--turns", type=int, default=7)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        old = Path(folder) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", old, asked.commit], check=True)
        try:
            pairs = [(_turn(old), _turn(ROOT)) for _ in range(asked.turns)]
        finally:
            subprocess.run([*git, "remove", "--force", old], check=True)
    table = Table(title=f"this tree against {asked.commit}, {asked.turns} turns")
    for column in ("", "before, s", "now, s", "ratio of medians", "ratios of the turns"):
        table.add_column(column, justify="left" if not column else "right")
    for name in pairs[0][0]:
        before, now = ([pair[side][name] for pair in pairs] for side in (0, 1))
        ratios = sorted(n / b for b, n in zip(before, now, strict=True))
        table.add_row(
            name, f"{median(before):.2f}", f"{median(now):.2f}",
            f"{median(now) / median(before):.3f}", f"{ratios[0]:.3f} to {ratios[-1]:.3f}",
        )  # fmt: skip
    Console(width=120).print(table)


def _turn(tree: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, str(TURN), str(tree / "conf")],
        env={**os.environ, "PYTHONPATH": str(tree)}, cwd=tree,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
