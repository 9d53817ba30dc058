"""Real photographs and real weights: a verdict for a stranger's folder of images."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from short_sweep import Run
from torch.utils.data import Dataset

import tlsweep

REAL = Path(
    os.environ.get("TLSWEEP_REAL_DATA") or Path(__file__).parents[3] / "shared" / "data"
).resolve()
WEIGHTS = REAL / "weights" / "mobilenet_v2_imagenet.pt"


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"no real data in {REAL} (TLSWEEP_REAL_DATA)")
def test_ants_and_bees_get_a_verdict_from_an_imagenet_checkpoint(
    tlsweep: Run, tmp_path: Path
) -> None:
    with zipfile.ZipFile(REAL / "hymenoptera" / "hymenoptera.zip") as archive:
        archive.extractall(tmp_path / "hymenoptera")
    root = next(p.parent for p in (tmp_path / "hymenoptera").rglob("train"))
    done = tlsweep(
        "-m", "study=ants_and_bees", "source=torchvision", "source.model=mobilenet_v2",
        f"source.checkpoint={WEIGHTS}", "source.image_size=128", "target=image_folder",
        f"target.root={root}", "sweep.stages=[survey]", "sweep.confirm.seeds=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads((tmp_path / "outputs/ants_and_bees/verdict.json").read_text())
    # its ImageNet features are known to tell ants from bees: .87 at 128 px
    assert verdict["score"] > 0.75
    for control in ("random_features", "raw_pixels"):
        assert verdict["score"] > verdict["controls"][control]["score"] + 0.1
    assert verdict["pool_images"] == 244
    assert verdict["report_images"] == 153  # its val part is quoted, since there is no test part
    assert len(verdict["curve"]) == 21


class HandSigns(Dataset[Any]):
    """Photographs of hands that show a digit, and the digit as a number."""

    unit = "digits"

    def __init__(self, each: int = 20) -> None:
        self.items: list[tuple[Any, float]] = []
        with zipfile.ZipFile(REAL / "sign_digits" / "sign_digits.zip") as archive:
            for digit in range(10):
                names = sorted(n for n in archive.namelist() if f"/{digit}/" in n)[:each]
                for name in names:
                    image = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
                    self.items.append((image.resize((64, 64)), float(digit)))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> tuple[Any, float]:
        return self.items[i]


class Written(Dataset[Any]):
    """Handwritten digits (USPS), and which of three properties each has."""

    classes = ("even", "five or more", "has a loop")

    def __init__(self, n: int = 400) -> None:
        with np.load(REAL / "usps" / "usps.npz") as arrays:
            self.images, self.digits = arrays["x_train"][:n], arrays["y_train"][:n]

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, i: int) -> tuple[Any, list[bool]]:
        digit = int(self.digits[i])
        return self.images[i], [digit % 2 == 0, digit >= 5, digit in (0, 6, 8, 9)]


@pytest.mark.real
@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"no real data in {REAL} (TLSWEEP_REAL_DATA)")
@pytest.mark.parametrize(("data", "metric"), [
    pytest.param(HandSigns, "mae", marks=pytest.mark.slow),
    pytest.param(Written, "example_f1", marks=pytest.mark.slow),
])  # fmt: skip
def test_real_numbers_and_real_labels_get_a_verdict_that_pixels_do_not_reach(
    data: type[Dataset[Any]], metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLSWEEP_CACHE", str(tmp_path))
    verdict = tlsweep.sweep(
        "mobilenet_v2", data(), "record=none", "sweep.stages=[survey]",
        source__checkpoint=str(WEIGHTS), source__image_size=64, output_dir=str(tmp_path / "out"),
    )  # fmt: skip
    assert verdict.metric == metric
    measure, pixels = verdict.measure, verdict.controls["raw_pixels"]
    assert measure.score(verdict.score) > measure.score(verdict.majority) + 0.2
    assert measure.score(verdict.score) > measure.score(pixels["score"]) + 0.05
    assert pixels["recommended_minus_this"] > 0
    assert len(verdict.curve) == 21
