"""The table of the zoo: a row says what works, and why what does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ZOO = Path(__file__).parent / "zoo"


@pytest.mark.slow
def test_a_row_says_what_works_and_why_what_does_not_does_not(tmp_path: Path) -> None:
    table = tmp_path / "zoo.md"
    command = [sys.executable, str(ZOO), "--kind", "one's own", "--table", str(table)]
    env = {**os.environ, "PYTHONPATH": str(ZOO.parents[2])}
    for limit in ("1", "1"):  # a second run goes on where the first one ended
        done = subprocess.run(
            [*command, "--limit", limit], env=env, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    lines = [line for line in table.read_text().splitlines() if line.startswith("| one's own")]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    assert [row[1] for row in cells] == ["Branches", "Loops"]
    assert cells[0][2:9] == ["16", "calls", "5", "6 of 6", "yes", "yes", "no"]
    assert cells[0][10].startswith("export: GuardOnDataDependentSymNode")
