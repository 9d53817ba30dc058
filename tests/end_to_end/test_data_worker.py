"""A process that decodes images is killed, as the system does where memory runs out."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

PLAN = (
    "plan=finetune", "target=image_folder", "train.augment=live", "train.num_workers=1",
    "train.settle=false", "record=none",
)  # fmt: skip
LONG = 2.0  # seconds: only those that training reads from live so long
SAID = "a process that decodes images ended before it was done (process "


@pytest.fixture
def images(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (2, 20, 32, 32, 3), dtype=np.uint8)
    for name, of in zip("ab", pixels, strict=True):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i, image in enumerate(of):
            Image.fromarray(image).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path / "images"


def with_one_killed(folder: Path, environment: dict[str, str], *asked: str) -> tuple[int, str]:
    """How the command ends whose first data worker is killed, and all that it says."""
    line = [sys.executable, "-m", "tlsweep", *asked, *PLAN, f"target.root={folder}"]
    begun = subprocess.Popen(
        line, env=environment, cwd=folder.parent, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    me, killed = psutil.Process(begun.pid), False
    while begun.poll() is None and not killed:
        # it is forked, and so has its parent's command line; one of a short pass does not live long
        for child in me.children():
            with suppress(psutil.NoSuchProcess):  # it has just ended
                if child.cmdline() == line and time.time() - child.create_time() > LONG:
                    child.kill()
                    killed = True
        time.sleep(0.05)
    said = begun.communicate(timeout=300)[0]
    assert killed
    return begun.returncode, " ".join(said.split())


def test_one_plan_ends_in_a_sentence(images: Path, environment: dict[str, str]) -> None:
    code, said = with_one_killed(images, environment, "train.epochs=1000")
    assert code == 1
    assert f"tlsweep: {SAID}" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_grids_trial_fails_with_it_and_the_next_one_ends(
    images: Path, environment: dict[str, str]
) -> None:
    asked = ("-m", "sweep.n_jobs=1", "train.epochs=1000,1")
    code, said = with_one_killed(images, environment, *asked)
    assert code == 0
    assert said.count(f"train.epochs=1000 failed: {SAID}") == 1
    assert "train.epochs=1 failed" not in said
    assert " %" in said  # the other one has its score
