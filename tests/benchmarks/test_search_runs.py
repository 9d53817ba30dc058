"""The benchmark of searches runs, over the grids that are kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SEARCH = Path(__file__).parent / "search"


@pytest.mark.slow
def test_each_recipe_is_searched_and_none_finds_more_than_the_whole_grid_has() -> None:
    done = subprocess.run(
        [sys.executable, str(SEARCH), "--seeds", "1", "--trials", "4"],
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if "±" in line]
    assert len([row for row in rows if len(row) == 6]) == 13
    assert all(float(row[4]) >= 0.0 for row in rows if len(row) == 6)
