"""The target "image_folder": one sub-folder a class, below train/, val/, test/ or all together.

The folder may be a zip.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from tlsweep.errors import Fault, Refusal, nearest
from tlsweep.files import in_words
from tlsweep.section import Place
from tlsweep.target.answers import PARTS
from tlsweep.target.base import Progress
from tlsweep.target.decode import MAX_PIXELS, MENDS, USUAL, endings
from tlsweep.target.files import FileTarget, title_of
from tlsweep.target.limits import DISK_GB, FileSettings, OnError, Reading, Twins, ram_faults
from tlsweep.target.look import look_at
from tlsweep.target.several import SHOWN, images, some
from tlsweep.target.zipped import AnyPath, Inside, below, is_of_a_tool, place_of, walk
from tlsweep.terms import Split


class Settings(FileSettings):
    """conf/target/image_folder.yaml."""

    from_files: ClassVar = "root"

    name: Literal["image_folder"]
    root: Place

    @property
    def title(self) -> str:
        """The folder's own name."""
        return title_of(self.root.removesuffix(".zip"))


@dataclass(frozen=True)
class Listing:
    """What lies below a root: files, the class of each, and the part it is in (None: no parts).

    said: what was left out, a sentence each.
    """

    root: AnyPath
    files: tuple[AnyPath, ...]
    classes: tuple[str, ...]
    parts: tuple[Split | None, ...]
    said: tuple[str, ...] = ()

    def named(self) -> list[tuple[str, AnyPath]]:
        """The files, by what people call each: the path below the root."""
        names = (in_words(below(file, self.root)) for file in self.files)
        return list(zip(names, self.files, strict=True))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of their labels."""
        return tuple(sorted(set(self.classes)))


def check(
    *,
    root: str | Path,
    ram_gb: float = 4.0,
    disk_gb: float = DISK_GB,
    on_error: OnError = "refuse",
    max_pixels: int = MAX_PIXELS,
    twins: Twins = "near",
    progress: Progress | None = None,
) -> None:
    """Raise Refusal with every fault that shows without decoding an image."""
    faults = [*ram_faults(ram_gb, disk_gb), *Reading(on_error, max_pixels, twins).faults()]
    try:
        list_images(root)
    except Refusal as refusal:
        faults += refusal.faults
    if faults:
        raise Refusal(*faults)


def open(  # noqa: A001  (always called as image_folder.open)
    *,
    root: str | Path,
    ram_gb: float = 4.0,
    disk_gb: float = DISK_GB,
    on_error: OnError = "refuse",
    max_pixels: int = MAX_PIXELS,
    twins: Twins = "near",
    progress: Progress | None = None,
) -> FileTarget:
    """Open root/train/CLASS/*.jpg with optional root/val and root/test, or root/CLASS/*.jpg.

    A part may have another usual name, in any case: Training, valid, dev, testing.

    Every image is read and decoded once, so that a damaged one is named now and not hours later.
    Raises Refusal with all faults of the folder, or with the images that cannot be decoded, which
    ``on_error="skip"`` leaves out; then with the classes of which none is left.
    """
    reading = Reading(on_error, max_pixels, twins)
    if faults := [*ram_faults(ram_gb, disk_gb), *reading.faults()]:
        raise Refusal(*faults)
    listing = list_images(root)
    seen = look_at(listing.named(), f"target.root={listing.root}", reading, progress)
    listing = _used(listing, seen.kept)
    files = listing.named()
    names, parts = listing.class_names, listing.parts
    labels = np.searchsorted(names, listing.classes).astype(np.int64)
    given = {
        split: np.flatnonzero([part == split for part in parts])
        for split in Split
        if split in parts
    }
    target = FileTarget(
        listing.root.name, names, labels, hashlib.sha256(seen.print_of(files)).hexdigest()[:16],
        files, seen, given, ram_gb, max_pixels=max_pixels, disk_gb=disk_gb,
        progress=progress,
    )  # fmt: skip
    target.said = (*listing.said, *_lacking(listing), *target.said)
    return target


def list_images(root: str | Path) -> Listing:
    """Find the images below ``root``, a folder or a zip, in an order that every machine agrees on.

    Raises Refusal with every fault: no such folder, no images, one class only, classes without
    images, classes of val or test that train lacks, parts that are not told by their names.
    """
    place = place_of(root)
    if not place.is_dir():
        raise Refusal(_no_folder(place))
    place = _below_its_one_folder(place)
    tops = _part_folders(place)
    folders = [(folder, split) for top, split in tops for folder in _sub_folders(top)]
    seen = {_real(one) for one in (place, *(t for t, _ in tops), *(f for f, _ in folders))}
    left_out: Counter[str] = Counter()
    found = [
        (file, _class_of(folder), split)
        for folder, split in folders
        for file in images_below(folder, seen, left_out)
    ]
    faults = _layout_faults(place, tops, found, left_out)
    if faults:
        raise Refusal(*faults)
    files, classes, parts = zip(*found, strict=True)
    return Listing(place, files, classes, parts, tuple(_said(place, tops, left_out)))


def _below_its_one_folder(root: AnyPath) -> AnyPath:
    """The one folder of a zip, which people make of a folder with folders in it; else itself."""
    inside = _sub_folders(root) if isinstance(root, Inside) else []
    if len(inside) == 1 and inside[0].name.lower() not in PARTS and _sub_folders(inside[0]):
        return inside[0]
    return root


def _real(folder: AnyPath) -> str:
    """What a folder is by itself, whatever links lead there."""
    return os.path.realpath(str(folder))


def _class_of(folder: AnyPath) -> str:
    """The class that a folder is of, which a Mac may spell with other letters than others do."""
    return unicodedata.normalize("NFC", in_words(folder.name))


def _said(
    root: AnyPath,
    tops: list[tuple[AnyPath, Split | None]],
    left_out: Counter[str],
) -> list[str]:
    """What was left out below a root."""
    said = []
    if left_out:
        each = ", ".join(f"{count} {what}{_mend(what)}" for what, count in sorted(left_out.items()))
        said.append(f"{root.name}: left out are {each}")
    used = {top for top, _ in tops}
    for top in _sub_folders(root) if used != {root} else []:
        name = in_words(top.name)
        if top in used and (loose := sum(map(_is_image, top.iterdir()))):
            said.append(f"{name}: left out are {images(loose)} without a class folder")
        elif top not in used:
            count = sum(1 for _ in images_below(top))
            why = "without class folders" if top.name.lower() in PARTS else "no train, val or test"
            said.append(f"{name}: left out with its {images(count)}, {why}")
    return said


def _lacking(listing: Listing) -> list[str]:
    """The classes that a part which is scored has no image of."""
    said = []
    for split in (Split.SELECT, Split.REPORT):
        rows = [i for i, part in enumerate(listing.parts) if part == split]
        there = {listing.classes[i] for i in rows}
        if there and (lacks := [name for name in listing.class_names if name not in there]):
            folder = in_words(below(listing.files[rows[0]], listing.root).split("/")[0])
            said.append(f"{folder} has no image of {some(lacks)}")
    return said


def _used(listing: Listing, kept: Sequence[int]) -> Listing:
    """The listing without the files that are left out. Raises Refusal where that empties a class.

    So does a part of which nothing is left.
    """
    if len(kept) == len(listing.files):
        return listing
    used = replace(
        listing,
        files=tuple(listing.files[i] for i in kept),
        classes=tuple(listing.classes[i] for i in kept),
        parts=tuple(listing.parts[i] for i in kept),
    )
    emptied = sorted(_trained(listing) - _trained(used))
    gone = sorted({p for p in listing.parts if p not in (None, Split.FIT)} - {*used.parts})
    if emptied or gone:
        what = [f"class {some(emptied)}"] if emptied else []
        value = f"target.root={listing.root}, of which no image of"
        value += f" {' and '.join([*what, *gone])} can be read"
        rule = "every class has images to train, and every part that is there has some"
        raise Refusal(Fault(value, rule, "save these images again, or delete the folder"))
    return used


def _trained(listing: Listing) -> set[str]:
    both = zip(listing.classes, listing.parts, strict=True)
    return {name for name, part in both if part in (None, Split.FIT)}


def _mend(what: str) -> str:
    """What helps with files that are left out, where something does."""
    mend = MENDS.get(what.split(" ", 1)[0])
    return f" ({mend})" if mend else ""


def _part_folders(root: AnyPath) -> list[tuple[AnyPath, Split | None]]:
    """The folders of the parts, train first; the root itself where there are none.

    A part is told by its name, and by the class folders in it: ``train`` may be a class, of images.
    """
    inside = _sub_folders(root)
    found: dict[Split, list[AnyPath]] = {}
    for folder in inside:
        split = PARTS.get(folder.name.lower())
        if split is not None and _sub_folders(folder):
            found.setdefault(split, []).append(folder)
    if twice := [folders for folders in found.values() if len(folders) > 1]:
        names = " and ".join(folder.name for folder in twice[0])
        rule = "each of train, val and test is one folder"
        raise Refusal(Fault(f"target.root={root} with {names}", rule, "put them together"))
    if not found:
        _refuse_unnamed_parts(root, inside)
        return [(root, None)]
    if Split.FIT not in found:
        names = ", ".join(folder.name for folders in found.values() for folder in folders)
        raise Refusal(
            Fault(
                f"target.root={root} with {names} but no train",
                "a folder with val or test has train beside them; without parts it has classes",
                f"rename the folder of the training images to {root / 'train'}",
            )
        )
    order = (Split.FIT, Split.SELECT, Split.REPORT)
    return [(found[split][0], split) for split in order if split in found]


def _refuse_unnamed_parts(root: AnyPath, inside: list[AnyPath]) -> None:
    """Raise Refusal where the folders look like parts: each has the same folders in it."""
    names = [{one.name for one in _sub_folders(folder)} for folder in inside]
    if len(names) > 1 and len(names[0]) > 1 and all(one == names[0] for one in names):
        value = (
            f"target.root={root}, where {some([folder.name for folder in inside])} hold the same"
        )
        value += f" folders ({some(sorted(names[0]))})"
        rule = "class folders lie below the root, or below train, val and test"
        raise Refusal(Fault(value, rule, f"rename them: {root / 'train'}, {root / 'test'}"))


def _sub_folders(folder: AnyPath) -> list[AnyPath]:
    inside = (entry for entry in folder.iterdir() if entry.is_dir())
    shown = (entry for entry in inside if not is_of_a_tool(entry.name))
    return sorted(shown, key=lambda entry: entry.name)


def _is_image(file: AnyPath) -> bool:
    return file.suffix.lower() in endings() and not file.name.startswith(".")


def images_below(
    folder: AnyPath, seen: set[str] | None = None, left_out: Counter[str] | None = None
) -> Iterator[AnyPath]:
    """Image files in a folder and in those inside it, in an order that every machine agrees on.

    Folders of tools are left out at any level, and each real folder is visited once: a link may
    lead back. seen: real paths that are not visited again; left_out: what else was there, counted.
    """
    seen, left_out = set() if seen is None else seen, Counter() if left_out is None else left_out
    for here, folders, files in walk(folder):
        inside = sorted(name for name in folders if not is_of_a_tool(name))
        left_out["folders of tools"] += len(folders) - len(inside)
        real = {name: _real(here / name) for name in inside}
        folders[:] = [name for name in inside if real[name] not in seen]
        left_out["links to folders that are there already"] += len(inside) - len(folders)
        seen.update(real[name] for name in folders)
        for name in sorted(files):
            if _is_image(Path(name)):
                yield here / name
            elif not name.startswith("."):
                left_out[f"{in_words(Path(name).suffix.lower()) or 'other'} files"] += 1
    for what in [what for what, count in left_out.items() if not count]:
        del left_out[what]


def _layout_faults(
    root: AnyPath,
    tops: list[tuple[AnyPath, Split | None]],
    found: list[tuple[AnyPath, str, Split | None]],
    left_out: Counter[str],
) -> list[Fault]:
    if not found:
        return [_no_images(root, tops, left_out)]
    trained = {name for _, name, split in found if split == tops[0][1]}
    return [
        *_empty_classes(root, tops[0][0], trained, left_out),
        *_too_few_classes(root, trained),
        *_strange_classes(root, found, trained),
    ]


def _empty_classes(
    root: AnyPath, top: AnyPath, trained: set[str], left_out: Counter[str]
) -> list[Fault]:
    folders = [folder for folder in _sub_folders(top) if _class_of(folder) not in trained]
    empty = [in_words(below(folder, root)) for folder in folders]
    if not empty:
        return []
    return [
        Fault(
            f"target.root={root}, no images in {some(empty)}",
            f"every class folder holds images ({USUAL})",
            _mends(left_out, "add images, or delete the folder"),
        )
    ]


def _mends(left_out: Counter[str], otherwise: str) -> str:
    """What helps where files that are not read may be the images that lack."""
    found = [
        f"{count} {what}{_mend(what)}" for what, count in sorted(left_out.items()) if _mend(what)
    ]
    return "; ".join([*found, otherwise])


def _too_few_classes(root: AnyPath, trained: set[str]) -> list[Fault]:
    if len(trained) >= 2:
        return []
    inside = _sub_folders(root)
    deeper = len(inside) == 1 and bool(_sub_folders(inside[0]))  # one folder too many
    layout = f"a layout such as {root / 'CLASS' / 'IMAGE.jpg'}"
    return [
        Fault(
            f"target.root={root}, {len(trained)} class(es) to train: {some(sorted(trained))}",
            "a classification target has 2 classes or more: one sub-folder each",
            f"target.root={inside[0]}" if deeper else layout,
        )
    ]


def _strange_classes(
    root: AnyPath, found: list[tuple[AnyPath, str, Split | None]], trained: set[str]
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


def _no_folder(root: AnyPath) -> Fault:
    beside = _sub_folders(root.parent) if root.parent.is_dir() else []
    guess = nearest(root.name, (folder.name for folder in beside), alike=0.75)
    known = ", ".join(folder.name for folder in beside[:SHOWN])
    rule = "the root is an existing folder" + (f"; beside it: {known}" if known else "")
    mend = f"target.root={root.parent / guess}" if guess else "target.root=FOLDER"
    return Fault(f"target.root={root}", rule, mend)


def _no_images(
    root: AnyPath, tops: list[tuple[AnyPath, Split | None]], left_out: Counter[str]
) -> Fault:
    looked = [in_words(below(folder, root)) for top, _ in tops for folder in _sub_folders(top)]
    where = f"looked in {some(looked)}" if looked else "there are no sub-folders to look in"
    return Fault(
        f"target.root={root} without images ({where})",
        f"images lie in one sub-folder a class: {USUAL}",
        _mends(left_out, f"a layout such as {root / 'CLASS' / 'IMAGE.jpg'}"),
    )
