"""How many near copies are found in real data, and how many other images are taken for copies.

``python tests/benchmarks/copies.py`` writes copies.md beside it; with TLSWEEP_REAL_DATA (minutes).
"""

from __future__ import annotations

import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance
from table import Table

from tlsweep.target.near import firsts, thumbnail

DATA = Path(os.environ.get("TLSWEEP_REAL_DATA", ""))
FOLDERS = ("hymenoptera", "caltech101_25", "rsscn7_128")
ARRAYS = (
    "cifar10/cifar10_lossless_train4k", "mnist/mnist_10k_3k", "usps/usps",
    "fashion_mnist/fashion_mnist_10k_5k", "pneumoniamnist/pneumoniamnist",
)  # fmt: skip
MOST, EDITED = 8000, 300  # images of a set; those that are copied
Edit = Callable[[Image.Image], Image.Image]


def encoded(quality: int) -> Edit:
    def edit(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return edit


def resized(by: float) -> Edit:
    return lambda image: image.resize(
        (max(1, round(image.width * by)), max(1, round(image.height * by))),
        Image.Resampling.BICUBIC,
    )


def cropped(share: float, *, one_side: bool = False) -> Edit:
    def edit(image: Image.Image) -> Image.Image:
        x, y = round(image.width * share), 0 if one_side else round(image.height * share)
        right = image.width if one_side else image.width - x
        return image.crop((x, y, right, image.height - y))

    return edit


EDITS: dict[str, Edit] = {
    "JPEG 90": encoded(90),
    "JPEG 50": encoded(50),
    "JPEG 20": encoded(20),
    "half size": resized(0.5),
    "double size": resized(2),
    "brighter by 20 %": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker by 20 %": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "cropped by 2 % a side": cropped(0.02),
    "by 5 % a side": cropped(0.05),
    "by 5 % at one side": cropped(0.05, one_side=True),
}


def sets() -> Iterator[tuple[str, list[Image.Image]]]:
    for name in FOLDERS:
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(DATA / name / f"{name}.zip") as archive:
                archive.extractall(folder)
            files = sorted(Path(folder).rglob("*.jpg"))
            yield name, [Image.open(file).convert("RGB") for file in files]
    for name in ARRAYS:
        with np.load(DATA / f"{name}.npz") as arrays:
            parts = [arrays[key] for key in arrays if arrays[key].ndim >= 3]
        pixels = np.concatenate(parts)[:MOST]
        if pixels.dtype != np.uint8:
            low, high = pixels.min(), pixels.max()
            pixels = np.round((pixels - low) * (255 / (high - low))).astype(np.uint8)
        yield Path(name).name, [Image.fromarray(one.squeeze()) for one in pixels]


def column(name: str, images: list[Image.Image]) -> list[str]:
    thumbs = np.stack([thumbnail(one) for one in images])
    contents: dict[bytes, int] = {}
    same = np.array([contents.setdefault(one.tobytes(), i) for i, one in enumerate(images)])
    start = time.perf_counter()
    first = firsts(thumbs, same)
    seconds = time.perf_counter() - start
    joined = len(np.unique(same)) - len(np.unique(first))
    chosen = np.random.default_rng(0).choice(len(images), min(EDITED, len(images)), replace=False)
    rates = []
    for edit in EDITS.values():
        copies = np.stack([thumbnail(edit(images[i])) for i in chosen])
        together = np.arange(len(images) + len(copies))
        found = firsts(np.concatenate([thumbs, copies]), together)
        rates.append(f"{np.mean(found[len(images) :] == found[chosen]):.1%}")
    size = f"{images[0].width} x {images[0].height}"
    return [name, str(len(images)), size, str(joined), *rates, f"{seconds:.1f}"]


def main() -> None:
    columns = [column(name, images) for name, images in sets()]
    names, *cells = zip(*columns, strict=True)
    what = ("images", "the first is of", "joined with another", *EDITS, "seconds")
    rows = [(name, *of) for name, of in zip(what, cells, strict=True)]
    title = "Edited copies that are found, and images that are joined as they were published"
    text = Table(title, ("", *names), rows).markdown()
    written = "# Near copies\n\n`python tests/benchmarks/copies.py` writes this.\n\n"
    Path(__file__).with_suffix(".md").write_text(written + text)


if __name__ == "__main__":
    main()
