"""Real photographs and real weights: a verdict for a stranger's folder of images."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
from short_sweep import Run

REAL = Path(
    os.environ.get("TLSWEEP_REAL_DATA") or Path(__file__).parents[3] / "shared" / "data"
).resolve()
WEIGHTS = REAL / "weights" / "mobilenet_v2_imagenet.pt"


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
