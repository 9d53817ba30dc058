"""A batch that memory does not hold: memory is really refused, by the operating system."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

DRIVER = Path(__file__).with_name("memory_driver.py")
MORE = 200  # MB: a step of 512 images takes less here, and one of 2048 twice as much
PLAN = (
    "plan=finetune", "target=arrays", "record=none", "target.fit_size=3000", "train.epochs=1",
    "train.batch_size=2048",
)  # fmt: skip


def trained(output: Path, *overrides: str) -> str:
    file, pixels = output / "images.npz", np.random.default_rng(0)
    x = pixels.integers(0, 255, (4400, 28, 28), dtype=np.uint8)
    np.savez(file, x=x, y=np.arange(len(x)) % 4)
    asked = [f"output_dir={output}", f"target.file={file}", *PLAN, *overrides]
    line = [sys.executable, str(DRIVER), str(MORE), *asked]
    one = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=one, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of a process's memory")


def test_a_batch_is_taken_in_parts_where_that_is_allowed_and_said(tmp_path: Path) -> None:
    said = trained(tmp_path, "train.out_of_memory=halve")
    assert said.startswith("trained in epochs [0]")
    assert (
        "; memory did not hold 2048 examples at a time: a batch of 2048 was taken in parts" in said
    )


@pytest.mark.slow
def test_it_fails_where_that_is_not_allowed(tmp_path: Path) -> None:
    assert trained(tmp_path).startswith("failed: ")
