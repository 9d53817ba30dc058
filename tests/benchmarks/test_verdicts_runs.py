"""The table of verdicts on real data: a line is what the sweep's own verdict says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

VERDICTS = Path(__file__).parent / "verdicts"
REAL = Path(
    os.environ.get("TLSWEEP_REAL_DATA") or Path(__file__).parents[3] / "shared" / "data"
).resolve()


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(
    not (REAL / "sign_digits").exists(), reason=f"no real data in {REAL} (TLSWEEP_REAL_DATA)"
)
def test_a_line_says_what_the_verdict_says_and_is_not_asked_again(tmp_path: Path) -> None:
    table, work = tmp_path / "verdicts.md", tmp_path / "work"
    command = [
        sys.executable, str(VERDICTS), "--only", "numbers", "--table", str(table),
        "--work", str(work),
    ]  # fmt: skip
    for seen in (1, 0):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == seen
    (line,) = [row for row in table.read_text().splitlines() if row.startswith("| numbers")]
    verdict = json.loads(next(work.glob("numbers*/out/s/verdict.json")).read_text())
    low, high = verdict["interval"]
    assert f"| {verdict['score']:.1f} ({low:.1f} to {high:.1f}) |" in line
    assert f"plan.keep={verdict['recommended']['keep_name']}" in line
    assert verdict["metric"] == "mae"
