"""The benchmark still runs: a tiny sample of all of it, on the embedded task. Nothing is timed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_quick_run_compares_every_contender_on_the_embedded_task() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TLSWEEP_REAL_DATA"}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent), "--quick"],
        env={**environment, "COLUMNS": "120"}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    markdown = done.stdout.partition("As Markdown:")[2]
    for contender in ("(a)", "(a')", "(b)", "(c)", "(d)", "(e)", "floor", "tlsweep, filled store"):
        assert f"\n| {contender}" in markdown, markdown
    assert "| tuned trial" in markdown
    assert "| all cut points, folded, bfloat16" in markdown
    assert "| two phases" in markdown
    assert "first phase as another trial trained it" in markdown
    assert "| survey, empty store" in markdown
    assert "| memory of a survey" in markdown
    assert "only the embedded task was measured" in markdown
