"""Our targets, and those of another package, pass their suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from idx_files import write_mnist
from PIL import Image
from torch.utils.data import Dataset

from tlsweep.conformance import TargetSuite
from tlsweep.target import held


class TestDigits(TargetSuite):
    name = "digits"


class TestGlyphAngle(TargetSuite):
    name = "glyph_angle"


class TestGlyphAttributes(TargetSuite):
    name = "glyph_attributes"


class TestImageFolder(TargetSuite):
    name = "image_folder"

    @pytest.fixture(autouse=True)
    def _images(self, images: Path) -> None:
        self.options = {"root": str(images)}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes in three parts; one image of val is one of train's."""
    folder = tmp_path_factory.mktemp("images")
    for part, n in (("train", 4), ("val", 2), ("test", 3)):
        for k in range(2 * n):
            file = folder / part / "ab"[k % 2] / f"{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            level = 0 if k == 0 else 20 * k + n
            Image.new("RGB", (12, 10), (level, 40, 90)).save(file)
    return folder


class TestManifest(TargetSuite):
    """Two labels an image, and groups of two images."""

    name = "manifest"

    @pytest.fixture(autouse=True)
    def _table(self, images: Path) -> None:
        files = sorted(images.rglob("*.png"))
        cells = [(file, ("a|b", "a", "b")[i % 3], i // 2) for i, file in enumerate(files)]
        lines = [f"{file.relative_to(images)},{labels},g{group}\n" for file, labels, group in cells]
        (images / "table.csv").write_text("path,label,group\n" + "".join(lines))
        self.options = {"file": str(images / "table.csv"), "kind": "labels"}


class TestArrays(TargetSuite):
    """Floats in parts, two numbers an image."""

    name = "arrays"

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        draw = np.random.default_rng(0)
        parts = {f"x_{part}": draw.random((9, 12, 10, 3)) for part in ("train", "test")}
        numbers = {f"y_{part}": draw.random((9, 2)) for part in ("train", "test")}
        file = tmp_path_factory.mktemp("arrays") / "a.npz"
        np.savez(file, **parts, **numbers)
        self.options = {"file": str(file)}


class TestTorchvision(TargetSuite):
    """A data set in memory, in two parts."""

    name = "torchvision"

    @pytest.fixture(autouse=True)
    def _files(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        root = tmp_path_factory.mktemp("mnist")
        write_mnist(root)
        self.options = {"dataset": "MNIST", "root": str(root)}


class TestHub(TargetSuite):
    """Texts with two labels at most, in two splits."""

    name = "hf"

    @pytest.fixture(autouse=True)
    def _table(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        datasets = pytest.importorskip("datasets")
        parts = {
            part: datasets.Dataset.from_dict(
                {
                    "text": [f"{part} {i}" for i in range(9)],
                    "label": [(["a"], ["a", "b"], ["b"])[i % 3] for i in range(9)],
                }
            )
            for part in ("train", "test")
        }
        folder = tmp_path_factory.mktemp("hub") / "saved"
        datasets.DatasetDict(parts).save_to_disk(folder)
        self.options = {"dataset": str(folder), "kind": "labels"}


class Pairs(Dataset[Any]):
    """Grey images with two numbers each."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return np.full((8, 8), 20 * i, np.uint8), [float(i), float(i % 3)]


class TestHeld(TargetSuite):
    name = "held"

    @pytest.fixture(autouse=True)
    def _dataset(self) -> None:
        self.options = {"key": held.hold(Pairs())}


@pytest.mark.usefixtures("beside")
class TestStripes(TargetSuite):
    name, options = "stripes", {"images": 30}


@pytest.mark.usefixtures("beside")
class TestMood(TargetSuite):
    name, options = "mood", {"texts": 30}
