"""A verdict on examples unlike those that are learned from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from short_sweep import ALONE, EndedWell, Run
from sklearn.datasets import load_digits

PARTS = {"train": range(200), "test": range(200, 320), "elsewhere": range(200, 320)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits as files; what lies elsewhere are the very images of the test part."""
    place, digits = tmp_path_factory.mktemp("photos"), load_digits()
    for part, rows in PARTS.items():
        root = place / part if part == "elsewhere" else place / "photos" / part
        for i in rows:
            own = root / f"digit {digits.target[i]}"
            own.mkdir(parents=True, exist_ok=True)
            pixels = (digits.images[i] * 15).astype(np.uint8)
            Image.fromarray(pixels).save(own / f"{i}.png")
    return place


def lines(photos: Path, shift: str) -> tuple[str, ...]:
    own = (f"target.root={photos / 'photos'}", "target.fit_size=60", "study=s")
    return ("-m", "target=image_folder", *own, f"target.shift={shift}")


def test_frozen_plans_score_on_a_folder_what_they_score_on_the_same_images_and_less_on_noise(
    photos: Path, ended_well: EndedWell
) -> None:
    shift = f"[{photos / 'elsewhere'},corruptions]"
    output, text = ended_well(*lines(photos, shift), "sweep.stages=[survey]")
    verdict = json.loads((output / "s" / "verdict.json").read_text())
    names = [one["name"] for one in verdict["shifts"]]
    assert names == ["elsewhere", "noise", "blur", "contrast", "jpeg", "brightness"]
    alike, noise = verdict["shifts"][:2]
    assert alike["versions"] == [
        {"name": "elsewhere", "score": verdict["score"], "interval": verdict["interval"]}
    ]
    frozen = {p["index"]: p["score"] for p in verdict["curve"] if p["index"]}
    assert {p["index"]: p["score"] for p in alike["curve"]} == pytest.approx(frozen)
    severities = [one["score"] for one in noise["versions"]]
    assert verdict["score"] > severities[0] > severities[2]
    assert noise["examples"] == 120
    assert "with noise" in text
    assert "Where images differ" in (output / "s" / "report.html").read_text()


@pytest.mark.slow
def test_a_trained_plan_scores_on_a_folder_what_it_scores_on_the_same_images(
    photos: Path, ended_well: EndedWell
) -> None:
    output, _ = ended_well(
        *lines(photos, str(photos / "elsewhere")), *ALONE, "sweep.stages=[search,confirm]",
        "sweep.final=all",  # the network to take home has learned from these very images
    )  # fmt: skip
    verdict = json.loads((output / "s" / "verdict.json").read_text())
    (alike,) = verdict["shifts"]
    assert verdict["recommended"]["probe_penalty"] is None  # it was trained
    (own,) = alike["versions"]
    assert (own["score"], own["interval"]) == (verdict["score"], verdict["interval"])
    assert alike["overrides"] == verdict["recommended"]["overrides"]


@pytest.mark.parametrize("arguments", [(), ("-m", "plan.keep=2,3")])
def test_one_plan_and_a_grid_have_no_use_for_shifted_examples(
    tlsweep: Run, arguments: tuple[str, ...]
) -> None:
    done = tlsweep(*arguments, "plan=truncate", "plan.keep=2" if not arguments else "seed=1",
                   "target.shift=corruptions")  # fmt: skip
    assert done.returncode == 2
    assert "target.shift=corruptions" in done.stderr
    assert "leave it out" in done.stderr
