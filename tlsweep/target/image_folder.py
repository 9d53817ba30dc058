"""The target "image_folder": one sub-folder a class, below train/, val/, test/ or all together."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from tlsweep.errors import Fault, Refusal, nearest
from tlsweep.section import Number, Place, TargetSettings
from tlsweep.target.base import Progress
from tlsweep.target.decode import SUFFIXES
from tlsweep.target.files import SHOWN, FileTarget, digests, some, title_of
from tlsweep.target.limits import ram_faults
from tlsweep.terms import Split

_PART_NAMES = {"train": Split.FIT, "val": Split.SELECT, "test": Split.REPORT}


class Settings(TargetSettings):
    """conf/target/image_folder.yaml."""

    name: Literal["image_folder"]
    root: Place
    ram_gb: Annotated[Number, Field(gt=0)]

    @property
    def title(self) -> str:
        """The folder's own name."""
        return title_of(self.root)


@dataclass(frozen=True)
class Listing:
    """What lies below a root: files, the class of each, and the part it is in (None: no parts)."""

    root: Path
    files: tuple[Path, ...]
    classes: tuple[str, ...]
    parts: tuple[Split | None, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of their labels."""
        return tuple(sorted(set(self.classes)))


def check(*, root: str | Path, ram_gb: float = 4.0, progress: Progress | None = None) -> None:
    """Raise Refusal with every fault that shows without decoding an image."""
    faults = ram_faults(ram_gb)
    try:
        list_images(root)
    except Refusal as refusal:
        faults += refusal.faults
    if faults:
        raise Refusal(*faults)


def open(  # noqa: A001  (always called as image_folder.open)
    *, root: str | Path, ram_gb: float = 4.0, progress: Progress | None = None
) -> FileTarget:
    """Open root/train/CLASS/*.jpg with optional root/val and root/test, or root/CLASS/*.jpg.

    Every image is read and decoded once, so that a damaged one is named now and not hours later.
    Raises Refusal with all faults of the folder, or with the images that cannot be decoded.
    """
    if faults := ram_faults(ram_gb):
        raise Refusal(*faults)
    listing = list_images(root)
    files = [(file.relative_to(listing.root).as_posix(), file) for file in listing.files]
    contents = digests(files, f"target.root={listing.root}", progress)
    digest = hashlib.sha256()
    for (called, _), content in zip(files, contents, strict=True):
        digest.update(f"{called} {content}\n".encode())
    names, parts = listing.class_names, listing.parts
    labels = np.searchsorted(names, listing.classes).astype(np.int64)
    given = {
        split: np.flatnonzero([part == split for part in parts])
        for split in Split
        if split in parts
    }
    fingerprint = digest.hexdigest()[:16]
    return FileTarget(listing.root.name, names, labels, fingerprint, files, contents, given, ram_gb)


def list_images(root: str | Path) -> Listing:
    """Find the images below ``root``, in an order that every machine agrees on.

    Raises Refusal with every fault: no such folder, no images, one class only, classes without
    images, classes of val or test that train lacks.
    """
    root = Path(root)
    if not root.is_dir():
        raise Refusal(_no_folder(root))
    tops = _part_folders(root)
    found = [
        (file, folder.name, split)
        for top, split in tops
        for folder in _sub_folders(top)
        for file in images_below(folder)
    ]
    faults = _layout_faults(root, tops, found)
    if faults:
        raise Refusal(*faults)
    files, classes, parts = zip(*found, strict=True)
    return Listing(root, files, classes, parts)


def _part_folders(root: Path) -> list[tuple[Path, Split | None]]:
    present = [
        (root / name, split) for name, split in _PART_NAMES.items() if (root / name).is_dir()
    ]
    if present and not (root / "train").is_dir():
        names = ", ".join(top.name for top, _ in present)
        raise Refusal(
            Fault(
                f"target.root={root} with {names} but no train",
                "a folder with val or test has train beside them; without parts it has classes",
                f"rename the folder of the training images to {root / 'train'}",
            )
        )
    return [*present] or [(root, None)]


def _sub_folders(folder: Path) -> list[Path]:
    # Hidden and dunder folders are left by tools (.ipynb_checkpoints, __MACOSX), never classes.
    inside = (entry for entry in folder.iterdir() if entry.is_dir())
    return sorted(entry for entry in inside if not entry.name.startswith((".", "__")))


def images_below(folder: Path) -> Iterator[Path]:
    """Image files in a folder and in those inside it, in an order that every machine agrees on."""
    for here, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(here) / name


def _layout_faults(
    root: Path,
    tops: list[tuple[Path, Split | None]],
    found: list[tuple[Path, str, Split | None]],
) -> list[Fault]:
    if not found:
        return [_no_images(root, tops)]
    trained = {name for _, name, split in found if split == tops[0][1]}
    return [
        *_empty_classes(root, tops[0][0], trained),
        *_too_few_classes(root, trained),
        *_strange_classes(root, found, trained),
    ]


def _empty_classes(root: Path, top: Path, trained: set[str]) -> list[Fault]:
    folders = [folder for folder in _sub_folders(top) if folder.name not in trained]
    empty = [str(folder.relative_to(root)) for folder in folders]
    if not empty:
        return []
    return [
        Fault(
            f"target.root={root}, no images in {some(empty)}",
            f"every class folder holds images ({' '.join(SUFFIXES)})",
            "add images, or delete the folder",
        )
    ]


def _too_few_classes(root: Path, trained: set[str]) -> list[Fault]:
    if len(trained) >= 2:
        return []
    return [
        Fault(
            f"target.root={root}, {len(trained)} class(es) to train: {some(sorted(trained))}",
            "a classification target has 2 classes or more: one sub-folder each",
            f"a layout such as {root / 'CLASS' / 'IMAGE.jpg'}",
        )
    ]


def _strange_classes(
    root: Path, found: list[tuple[Path, str, Split | None]], trained: set[str]
) -> list[Fault]:
    strange = Counter(f"{split}: {name}" for _, name, split in found if name not in trained)
    if not strange:
        return []
    return [
        Fault(
            f"target.root={root}, classes that train lacks ({some(sorted(strange))})",
            "every class of val (select) and test (report) has images in train",
            "add training images of them, correct the folder names, or delete the folders",
        )
    ]


def _no_folder(root: Path) -> Fault:
    beside = _sub_folders(root.parent) if root.parent.is_dir() else []
    guess = nearest(root.name, (folder.name for folder in beside), alike=0.75)
    known = ", ".join(folder.name for folder in beside[:SHOWN])
    rule = "the root is an existing folder" + (f"; beside it: {known}" if known else "")
    mend = f"target.root={root.parent / guess}" if guess else "target.root=FOLDER"
    return Fault(f"target.root={root}", rule, mend)


def _no_images(root: Path, tops: list[tuple[Path, Split | None]]) -> Fault:
    looked = [str(folder.relative_to(root)) for top, _ in tops for folder in _sub_folders(top)]
    where = f"looked in {some(looked)}" if looked else "there are no sub-folders to look in"
    return Fault(
        f"target.root={root} without images ({where})",
        f"images lie in one sub-folder a class and end in {' '.join(SUFFIXES)}",
        f"a layout such as {root / 'CLASS' / 'IMAGE.jpg'}",
    )
