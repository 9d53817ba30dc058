"""The targets "mnist", "fashion_mnist", "cifar10", "cifar100": torchvision's files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tlsweep.errors import Refusal
from tlsweep.section import Place, TargetSettings
from tlsweep.target.arrays import ArrayTarget
from tlsweep.target.base import Progress
from tlsweep.target.limits import ram_faults
from tlsweep.target.published import arrays, faults_of, load, rows_of, unreadable


class Settings(TargetSettings):
    """conf/target/{mnist,fashion_mnist,cifar10,cifar100}.yaml."""

    name: Literal["mnist", "fashion_mnist", "cifar10", "cifar100"]
    root: Place
    download: bool


_PUBLISHED = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
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
    faults += faults_of(_PUBLISHED[dataset_name], f"target={dataset_name}", root, download)
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
    name, asked = _PUBLISHED[dataset_name], f"target={dataset_name}"
    parts = load(name, asked, root, download)
    try:
        images, labels = arrays(parts)
    except ValueError as error:
        raise unreadable(name, asked, root, error) from error
    if progress is not None:
        progress(1, 1, f"reading {dataset_name}")
    names = tuple(str(name) for name in next(iter(parts.values())).classes)
    return ArrayTarget(dataset_name, names, images, labels, rows_of(parts), ram_gb)
