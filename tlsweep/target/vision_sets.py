"""The target "torchvision": a data set of torchvision for classification, by its name there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal, unknown_name
from tlsweep.section import Place
from tlsweep.target.arrays import ArrayTarget
from tlsweep.target.base import Progress
from tlsweep.target.decode import MAX_PIXELS
from tlsweep.target.files import FileTarget, left_of
from tlsweep.target.images import ImageTarget
from tlsweep.target.limits import DISK_GB, FileSettings, OnError, Reading, Twins, ram_faults
from tlsweep.target.look import Files, look_at
from tlsweep.target.published import (
    SETS,
    Loaded,
    arrays,
    faults_of,
    in_memory,
    load,
    named,
    rows_of,
    unreadable,
)
from tlsweep.target.several import in_threads


class Settings(FileSettings):
    """conf/target/torchvision.yaml."""

    name: Literal["torchvision"]
    dataset: str
    root: Place
    download: bool

    @property
    def title(self) -> str:
        """The data set's name."""
        return self.dataset


@dataclass(frozen=True)
class Item:
    """An image of a data set that opens its files itself, as a file without losses."""

    dataset: Any
    index: int

    def read_bytes(self) -> bytes:
        """The image as a bitmap."""
        image, to = self.dataset[self.index][0], BytesIO()
        (image if image.mode in ("L", "RGB") else image.convert("RGB")).save(to, "BMP")
        return to.getvalue()


def check(
    *,
    dataset: str,
    root: str | Path,
    download: bool = False,
    ram_gb: float = 4.0,
    disk_gb: float = DISK_GB,
    on_error: OnError = "refuse",
    max_pixels: int = MAX_PIXELS,
    twins: Twins = "near",
    progress: Progress | None = None,
) -> None:
    """Raise Refusal for an unknown data set, and if files are missing and may not be fetched."""
    faults = [*ram_faults(ram_gb, disk_gb), *Reading(on_error, max_pixels, twins).faults()]
    if dataset in SETS:
        faults += faults_of(dataset, _asked(dataset), root, download)
    else:
        faults.append(_unknown(dataset))
    if faults:
        raise Refusal(*faults)


def open(  # noqa: A001  (always called as vision_sets.open)
    *,
    dataset: str,
    root: str | Path,
    download: bool = False,
    ram_gb: float = 4.0,
    disk_gb: float = DISK_GB,
    on_error: OnError = "refuse",
    max_pixels: int = MAX_PIXELS,
    twins: Twins = "near",
    progress: Progress | None = None,
) -> ImageTarget:
    """Read a data set that lies below ``root``, where torchvision keeps it; its parts are given.

    download: fetch what is not there. Raises Refusal for what is not there or damaged.
    """
    check(
        dataset=dataset, root=root, download=download, ram_gb=ram_gb, disk_gb=disk_gb,
        on_error=on_error, max_pixels=max_pixels, twins=twins,
    )  # fmt: skip
    if progress is not None:
        progress(0, 1, f"reading {dataset}")
    parts = load(dataset, _asked(dataset), root, download)
    try:
        if in_memory(parts):
            images, labels = arrays(parts)
            names, labels = named(next(iter(parts.values())), labels)
            target = ArrayTarget(dataset, names, images, labels, rows_of(parts), ram_gb)
            if twins == "near":
                target.look_for_copies(progress)
            return target
        files, labels = _files(parts, Path(root), progress)
    except Exception as error:  # told as torchvision's own
        raise unreadable(dataset, _asked(dataset), root, error) from error
    reading = Reading(on_error, max_pixels, twins)
    return _of_files(dataset, root, parts, files, labels, reading, (ram_gb, disk_gb), progress)


def _asked(dataset: str) -> str:
    return f"target=torchvision target.dataset={dataset}"


def _unknown(dataset: str) -> Fault:
    return unknown_name("data set", "target.dataset", dataset, SETS)


def _files(parts: Loaded, root: Path, progress: Progress | None) -> tuple[Files, NDArray[np.int64]]:
    """The images of all parts, by what people call each, and their labels."""
    files: list[tuple[str, Any]] = []
    labels: list[int] = []
    total = sum(len(part) for part in parts.values())
    for name, part in parts.items():
        for i, (image, label) in enumerate(in_threads(part.__getitem__, range(len(part)))):
            if isinstance(image, Path):
                files.append((image.relative_to(root).as_posix(), image))
            else:
                files.append((f"{name or 'image'} {i}", Item(part, i)))
            labels.append(int(label))
            if progress is not None:
                progress(len(labels), total, "reading labels")
    return files, np.array(labels, dtype=np.int64)


def _of_files(
    dataset: str,
    root: str | Path,
    parts: Loaded,
    files: Files,
    labels: NDArray[np.int64],
    reading: Reading,
    room: tuple[float, float],
    progress: Progress | None,
) -> FileTarget:
    """A target of those images that can be read. room: ram_gb and disk_gb."""
    seen = look_at(files, f"{_asked(dataset)} target.root={root}", reading, progress)
    kept = np.array(seen.kept, dtype=np.int64)
    names, labels = named(next(iter(parts.values())), labels)
    labels, used = labels[kept], [files[i] for i in seen.kept]
    given = left_of(rows_of(parts), kept)
    digest = hashlib.sha256(f"{names}\n".encode())
    digest.update(seen.print_of(used) + labels.tobytes())
    return FileTarget(
        dataset, names, labels, digest.hexdigest()[:16], used, seen, given, room[0],
        max_pixels=reading.max_pixels, disk_gb=room[1], progress=progress,
    )  # fmt: skip
