"""The truth benchmark still runs: a tiny sample of all of it, on the embedded task."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_tiny_run_replays_every_rule_and_judges_every_target() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TLSWEEP_REAL_DATA"}
    folder = Path(__file__).parent / "truth"
    # whole sweeps are what the end-to-end tests run
    names = ("real", "luck", "worlds", "bounds", "helped", "model", "coverage")
    parts = [f"--part={part}" for part in names]
    done = subprocess.run(
        [sys.executable, str(folder), "--draws", "2", "--studies", "2", *parts],
        env={**environment, "COLUMNS": "120"}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    markdown = done.stdout.partition("As Markdown:")[2]
    for row in (
        "old default", "best (the default)", "by log loss", "oracle", "digits, 250", "digits, 600",
        "middle best, seeds 1.4, pool 200", "98 and 92.0 %", "all equal, seeds 4.4",
        "rmse, normal errors",
    ):  # fmt: skip
        assert f"\n| {row}" in markdown, markdown
    assert "only the embedded digits were measured" in markdown
    rules = next(line for line in markdown.splitlines() if line.startswith("| best (the default)"))
    old = next(line for line in markdown.splitlines() if line.startswith("| old default"))
    # even two draws show it: folds choose better than a split of 50
    assert float(rules.split("|")[-2]) > float(old.split("|")[-2])
