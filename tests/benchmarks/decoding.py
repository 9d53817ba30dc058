"""How much faster kept images are read than decoded again: python tests/benchmarks/decoding.py.

A folder of images behind it is used in place of drawn photographs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tlsweep.target import ImageTarget, open_target
from tlsweep.terms import ImageSpec

IMAGES, SIZE = 400, (640, 480)
BATCH, PASSES = 64, 3
SPEC = ImageSpec(channels=3, size=224, mean=(0.5,) * 3, std=(0.25,) * 3, resize=256)
NO_ROOM = 1e-9  # GB of memory


def draw(folder: Path) -> Path:
    """Photographs in the size and the detail of a small camera's."""
    for i in range(IMAGES):
        noise = np.random.default_rng(i).integers(0, 256, (60, 80, 3), np.uint8)
        file = folder / "ab"[i % 2] / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC).save(file, quality=90)
    return folder


def seconds(target: ImageTarget) -> float:
    """The median of a few passes over all images, in batches, after the first one."""
    data = target.dataset(range(len(target.labels)), SPEC)
    taken = []
    for _ in range(PASSES):
        start = time.perf_counter()
        for at in range(0, len(data), BATCH):
            data.batch(range(at, min(at + BATCH, len(data))))
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def main(given: list[str]) -> None:
    """Print seconds of a pass, both ways, and their ratio."""
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["TLSWEEP_CACHE"] = temporary
        root = Path(given[0]) if given else draw(Path(temporary) / "photos")
        options = {"root": root, "ram_gb": NO_ROOM, "twins": "exact"}
        found = []
        for disk_gb in (0.0, 100.0):
            target = open_target("image_folder", disk_gb=disk_gb, **options)
            assert isinstance(target, ImageTarget)
            found.append(seconds(target))
        n, (again, kept) = len(target.labels), found
        said = (
            f"{n} images, {SPEC.size} pixels, {os.cpu_count()} cores; decoded again {again:.2f} s,"
        )
        print(f"{said} kept on disk {kept:.2f} s: {again / kept:.1f} times")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
