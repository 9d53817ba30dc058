"""The targets "mnist", "fashion_mnist", "cifar10", "cifar100": torchvision's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal
from tlsweep.section import Place, TargetSettings
from tlsweep.target.arrays import ArrayTarget
from tlsweep.target.base import Progress
from tlsweep.target.limits import ram_faults
from tlsweep.terms import Split


class Settings(TargetSettings):
    """conf/target/{mnist,fashion_mnist,cifar10,cifar100}.yaml."""

    name: Literal["mnist", "fashion_mnist", "cifar10", "cifar100"]
    root: Place
    download: bool


@dataclass(frozen=True)
class _Published:
    """Torchvision's class for it, and where below the root its files lie."""

    class_name: str
    folder: str
    files: tuple[str, ...]


_IDX = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_PUBLISHED = {
    "mnist": _Published("MNIST", "MNIST/raw", _IDX),
    "fashion_mnist": _Published("FashionMNIST", "FashionMNIST/raw", _IDX),
    "cifar10": _Published(
        "CIFAR10",
        "cifar-10-batches-py",
        (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"),
    ),
    "cifar100": _Published("CIFAR100", "cifar-100-python", ("train", "test", "meta")),
}


def check(
    dataset_name: str,
    *,
    root: str | Path,
    download: bool = False,
    ram_gb: float = 4.0,
    progress: Progress | None = None,
) -> None:
    """Raise Refusal if files are missing and may not be downloaded, or for a bad ``ram_gb``."""
    faults = ram_faults(ram_gb)
    published, folder = _PUBLISHED[dataset_name], _folder(dataset_name, root)
    missing = [name for name in published.files if not (folder / name).is_file()]
    if missing and not download:
        faults.append(
            Fault(
                f"target={dataset_name} target.root={root}",
                f"these files are in {folder}; missing: {', '.join(missing)}",
                "target.download=true, or put the files there, unpacked",
            )
        )
    if faults:
        raise Refusal(*faults)


def open(  # noqa: A001  (always called as downloaded.open)
    dataset_name: str,
    *,
    root: str | Path,
    download: bool = False,
    ram_gb: float = 4.0,
    progress: Progress | None = None,
) -> ArrayTarget:
    """Read one of torchvision's data sets; its train part is FIT, its test part REPORT.

    root: the folder that torchvision keeps its data sets in; download: fetch what is not there.
    Raises Refusal for a download that is not possible and for damaged files.
    """
    check(dataset_name, root=root, download=download, ram_gb=ram_gb)
    if progress is not None:
        progress(0, 1, f"reading {dataset_name}")
    try:
        train, test = (_load(dataset_name, root, part, download) for part in (True, False))
        images = np.concatenate([np.asarray(part.data, dtype=np.uint8) for part in (train, test)])
        labels = np.concatenate([_labels(part) for part in (train, test)])
    except Exception as error:
        # No network, no rights, a wrong checksum, a cut file: torchvision raises OSError,
        # RuntimeError, AssertionError, ValueError or pickle's errors, by where it notices.
        raise _unreadable(dataset_name, root, error) from error
    if progress is not None:
        progress(1, 1, f"reading {dataset_name}")
    n_train = len(train.data)
    given: dict[Split, NDArray[np.int64]] = {
        Split.FIT: np.arange(n_train),
        Split.REPORT: np.arange(n_train, len(labels)),
    }
    names = tuple(str(name) for name in train.classes)
    return ArrayTarget(dataset_name, names, images, labels, given, ram_gb)


def _folder(dataset_name: str, root: str | Path) -> Path:
    return Path(root) / _PUBLISHED[dataset_name].folder


def _load(dataset_name: str, root: str | Path, train: bool, download: bool) -> Any:
    import torchvision.datasets

    published = getattr(torchvision.datasets, _PUBLISHED[dataset_name].class_name)
    return published(str(root), train=train, download=download)


def _labels(part: Any) -> NDArray[np.int64]:
    labels = np.asarray(part.targets, dtype=np.int64)
    if len(labels) != len(part.data):
        raise ValueError(f"{len(part.data)} images but {len(labels)} labels")
    return labels


def _unreadable(dataset_name: str, root: str | Path, error: Exception) -> Refusal:
    folder, files = _folder(dataset_name, root), _PUBLISHED[dataset_name].files
    lines = str(error).strip().splitlines() or ["no further word"]
    return Refusal(
        Fault(
            f"target={dataset_name} target.root={root} ({type(error).__name__}: {lines[-1]})",
            f"whole, unpacked files in {folder}, or a download of them: {', '.join(files)}",
            f"put the files into {folder}; delete damaged ones before target.download=true",
        )
    )
