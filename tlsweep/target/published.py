"""Torchvision's data sets for classification: what each is made of, and how it is read."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal
from tlsweep.target.several import some
from tlsweep.terms import Split

Parts = Mapping[Split | None, Mapping[str, Any]]
Loaded = dict[Split | None, Any]
"""A data set of torchvision for each part; None: it comes in one."""

_TRAIN: Parts = {Split.FIT: {"train": True}, Split.REPORT: {"train": False}}
_TWO: Parts = {Split.FIT: {"split": "train"}, Split.REPORT: {"split": "test"}}
_VAL: Parts = {Split.FIT: {"split": "train"}, Split.SELECT: {"split": "val"}}
_THREE: Parts = {**_VAL, Split.REPORT: {"split": "test"}}
_PAGE = "https://docs.pytorch.org/vision/stable/generated/torchvision.datasets."


@dataclass(frozen=True)
class Published:
    """One data set of torchvision.

    parts: what its class is told for each split; files: what lies below the root, ``a|b`` for one
    of two; fetched: whether torchvision downloads it; wants: a package that reads it.
    """

    parts: Parts
    files: tuple[str, ...]
    fetched: bool = True
    wants: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def _idx(folder: str, *stems: str) -> tuple[str, ...]:
    kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
    return tuple(f"{folder}/raw/{stem}-{kind}" for stem in stems for kind in kinds)


def _cifar(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


SETS: Mapping[str, Published] = {
    "MNIST": Published(_TRAIN, _idx("MNIST", "train", "t10k")),
    "FashionMNIST": Published(_TRAIN, _idx("FashionMNIST", "train", "t10k")),
    "KMNIST": Published(_TRAIN, _idx("KMNIST", "train", "t10k")),
    "EMNIST": Published(
        _TRAIN,
        _idx("EMNIST", "emnist-balanced-train", "emnist-balanced-test"),
        told={"split": "balanced"},
    ),
    "QMNIST": Published(
        _TRAIN,
        tuple(
            f"QMNIST/raw/qmnist-{part}-{kind}"
            for part in ("train", "test")
            for kind in ("images-idx3-ubyte", "labels-idx2-int")
        ),
    ),
    "CIFAR10": Published(
        _TRAIN,
        _cifar(
            "cifar-10-batches-py",
            *(f"data_batch_{i}" for i in range(1, 6)),
            "test_batch",
            "batches.meta",
        ),
    ),
    "CIFAR100": Published(_TRAIN, _cifar("cifar-100-python", "train", "test", "meta")),
    "SVHN": Published(_TWO, ("train_32x32.mat", "test_32x32.mat")),
    "STL10": Published(
        _TWO,
        tuple(
            f"stl10_binary/{name}.bin"
            for name in ("train_X", "train_y", "unlabeled_X", "test_X", "test_y")
        ),
    ),
    "USPS": Published(_TRAIN, ("usps.bz2", "usps.t.bz2")),
    "SEMEION": Published({None: {}}, ("semeion.data",)),
    "FER2013": Published(_TWO, ("fer2013/fer2013.csv|fer2013/icml_face_data.csv",), fetched=False),
    "Caltech101": Published({None: {}}, ("caltech101/101_ObjectCategories",)),
    "Caltech256": Published({None: {}}, ("caltech256/256_ObjectCategories",)),
    "Country211": Published(
        {**_TWO, Split.SELECT: {"split": "valid"}},
        ("country211/train", "country211/valid", "country211/test"),
    ),
    "DTD": Published(_THREE, ("dtd/dtd/images", "dtd/dtd/labels")),
    "EuroSAT": Published({None: {}}, ("eurosat/2750",)),
    "FGVCAircraft": Published(_THREE, ("fgvc-aircraft-2013b/data",)),
    "Flowers102": Published(
        _THREE, ("flowers-102/jpg", "flowers-102/imagelabels.mat", "flowers-102/setid.mat")
    ),
    "Food101": Published(_TWO, ("food-101/images", "food-101/meta")),
    "GTSRB": Published(
        _TWO,
        ("gtsrb/GTSRB/Training", "gtsrb/GTSRB/Final_Test/Images", "gtsrb/GT-final_test.csv"),
    ),
    "Imagenette": Published(_VAL, ("imagenette2/train", "imagenette2/val")),
    "OxfordIIITPet": Published(
        {Split.FIT: {"split": "trainval"}, Split.REPORT: {"split": "test"}},
        ("oxford-iiit-pet/images", "oxford-iiit-pet/annotations"),
    ),
    "PCAM": Published(
        _THREE,
        tuple(
            f"pcam/camelyonpatch_level_2_split_{part}_{kind}.h5"
            for part in ("train", "valid", "test")
            for kind in "xy"
        ),
        wants="h5py",
    ),
    "RenderedSST2": Published(
        _THREE, ("rendered-sst2/train", "rendered-sst2/valid", "rendered-sst2/test")
    ),
    "StanfordCars": Published(
        _TWO,
        (
            "stanford_cars/devkit",
            "stanford_cars/cars_train",
            "stanford_cars/cars_test",
            "stanford_cars/cars_test_annos_withlabels.mat",
        ),
        fetched=False,
    ),
    "SUN397": Published({None: {}}, ("SUN397",)),
}
"""By the names of torchvision's classes. Others have no classes, or read what is private."""


def faults_of(name: str, asked: str, root: str | Path, download: bool) -> list[Fault]:
    """What hinders reading a data set that shows without reading it. asked: the settings, typed."""
    found, published = [], SETS[name]
    if published.wants and importlib.util.find_spec(published.wants) is None:
        rule = f"{name} is read with the package {published.wants}"
        found.append(Fault(asked, rule, f"pip install {published.wants}"))
    folders, missing = _missing(published, Path(root))
    if missing and not (download and published.fetched):
        fetch = "target.download=true, or " if published.fetched else ""
        rule = f"these files are in {folders}; missing: {some(missing)}"
        mend = f"{fetch}put the files there, unpacked ({_PAGE}{name}.html)"
        found.append(Fault(f"{asked} target.root={root}", rule, mend))
    return found


def _missing(published: Published, root: Path) -> tuple[str, list[str]]:
    """Where files of a data set lie, all told, and what of them is not there."""
    files = [[Path(one) for one in file.split("|")] for file in published.files]
    gone = [paths for paths in files if not any((root / path).exists() for path in paths)]
    folders = {str((root / paths[0]).parent) for paths in gone or files}
    missing = [" or ".join(path.name for path in paths) for paths in gone]
    return " and ".join(sorted(folders)), missing


def load(name: str, asked: str, root: str | Path, download: bool) -> Loaded:
    """A data set in its parts, as torchvision reads it. Raises Refusal where that fails.

    Where torchvision lets a reader of files be named, an item is a file's path, and not opened.
    """
    import torchvision.datasets

    published, made = SETS[name], getattr(torchvision.datasets, name)
    takes = inspect.signature(made.__init__).parameters
    told = dict(published.told)
    if download or "download" in takes:
        told["download"] = download
    if "loader" in takes:
        told["loader"] = Path
    try:
        return {part: made(str(root), **how, **told) for part, how in published.parts.items()}
    except Exception as error:
        raise unreadable(name, asked, root, error) from error


def unreadable(name: str, asked: str, root: str | Path, error: Exception) -> Refusal:
    """The refusal of files that are damaged, or of a download that failed.

    No network, no rights, a wrong checksum, a cut file: torchvision raises OSError, RuntimeError,
    AssertionError, ValueError or pickle's errors, by where it notices.
    """
    lines = str(error).strip().splitlines() or ["no further word"]
    files = ", ".join(Path(file).name for file in SETS[name].files)
    folders, _ = _missing(SETS[name], Path(root))
    return Refusal(
        Fault(
            f"{asked} target.root={root} ({type(error).__name__}: {lines[-1]})",
            f"whole, unpacked files in {folders}, or a download of them: {files}",
            f"put the files into {folders}; delete damaged ones before target.download=true",
        )
    )


def in_memory(parts: Loaded) -> bool:
    """Whether torchvision has read the images, all of one size, as it does where they are few."""
    return all(hasattr(part, "data") for part in parts.values())


def arrays(parts: Loaded) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [n, h, w] or [n, h, w, 3] and labels of a data set in memory.

    Raises ValueError where there are not as many labels as images.
    """
    images = np.concatenate([_channels_last(np.asarray(part.data)) for part in parts.values()])
    return images, np.concatenate([_labels(part) for part in parts.values()])


def _channels_last(data: NDArray[Any]) -> NDArray[np.uint8]:
    first = data.ndim == 4 and data.shape[1] == 3 and data.shape[3] != 3
    return np.asarray(data.transpose(0, 2, 3, 1) if first else data, dtype=np.uint8)


def _labels(part: Any) -> NDArray[np.int64]:
    found = getattr(part, "targets", None)
    labels = np.asarray(part.labels if found is None else found, dtype=np.int64)
    labels = labels[:, 0] if labels.ndim == 2 else labels  # QMNIST tells more of each
    if len(labels) != len(part.data):
        raise ValueError(f"{len(part.data)} images but {len(labels)} labels")
    return labels


def rows_of(parts: Loaded) -> dict[Split, NDArray[np.int64]]:
    """The rows of each part, one below the other; none where it comes in one."""
    ends = np.cumsum([0, *(len(part) for part in parts.values())])
    return {
        part: np.arange(ends[i], ends[i + 1], dtype=np.int64)
        for i, part in enumerate(parts)
        if part is not None
    }


def named(part: Any, labels: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names of the classes, and labels that count in them; numbers where it names none."""
    known = getattr(part, "classes", None) or getattr(part, "categories", None)
    if known is None:
        numbers, places = np.unique(labels, return_inverse=True)
        return tuple(map(str, numbers.tolist())), places.astype(np.int64)
    return tuple(name[0] if isinstance(name, tuple) else str(name) for name in known), labels
