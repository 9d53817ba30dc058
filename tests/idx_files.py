"""Small files in the format of MNIST."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def idx(array: np.ndarray) -> bytes:
    """The IDX format of MNIST: two zeros, type 8 (uint8), dimensions, big-endian sizes, data."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def write_mnist(root: Path, folder: str = "MNIST") -> np.ndarray:
    """A small MNIST under ``root``; the images, train then test."""
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (90, 28, 28), dtype=np.uint8)
    labels = np.arange(90) % 10
    for name, part in (("train", slice(0, 60)), ("t10k", slice(60, 90))):
        (raw / f"{name}-images-idx3-ubyte").write_bytes(idx(images[part]))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels[part]))
    return images
