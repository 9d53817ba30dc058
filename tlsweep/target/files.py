"""Targets whose images lie in files: each is checked once, and decoded when it is asked for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal, nearest
from tlsweep.target.base import Progress
from tlsweep.target.decode import read_image, verify
from tlsweep.target.images import ImageTarget
from tlsweep.task import Task, Truth
from tlsweep.terms import ImageSpec, Split

if TYPE_CHECKING:
    from torch import Tensor

SHOWN = 5  # names in a refusal
_POOL_FROM = 16  # images; fewer are decoded without starting threads

In = TypeVar("In")
Out = TypeVar("Out")


class FileTarget(ImageTarget):
    """Images in files. files: by what people call each, in the order of the examples."""

    def __init__(
        self,
        name: str,
        output_names: tuple[str, ...],
        labels: Truth,
        fingerprint: str,
        files: Sequence[tuple[str, Path]],
        contents: Sequence[str],
        given: Mapping[Split, NDArray[np.int64]] | None = None,
        ram_gb: float = 4.0,
        task: Task | None = None,
    ) -> None:
        self._files = tuple(files)
        super().__init__(name, output_names, labels, fingerprint, given, ram_gb, contents, task)

    def called(self, index: int) -> str:
        """The file, as seen from the target's own place."""
        return self._files[index][0]

    def pixels(self, indices: NDArray[np.int64], image: ImageSpec) -> Tensor:
        """Decode files and bring them to ``image``: uint8 [k, C, size, size]."""
        import torch

        out = np.empty((len(indices), image.channels, image.size, image.size), dtype=np.uint8)
        files = [self._files[index][1] for index in indices]
        for row, decoded in enumerate(_map(lambda file: _read(file, image), files)):
            out[row] = decoded
        return torch.from_numpy(out)


def digests(files: Sequence[tuple[str, Path]], where: str, progress: Progress | None) -> list[str]:
    """A digest of every file's content, each decoded once.

    So a damaged image is named now and not hours later. files: by what people call each; where: the
    key and the value that named them. Raises Refusal with the images that cannot be decoded.
    """
    found: list[str] = []
    damaged: list[str] = []
    paths = [path for _, path in files]
    for (called, _), (digest, reason) in zip(files, _map(_inspect, paths), strict=True):
        found.append(digest)
        if reason is not None:
            damaged.append(f"{called} ({reason})")
        if progress is not None:
            progress(len(found), len(files), "checking images")
    if damaged:
        raise Refusal(
            Fault(
                f"{where}, {len(damaged)} of {len(files)} images: {some(damaged)}",
                "every image can be decoded",
                "delete these files, or save them again",
            )
        )
    return found


def some(names: Sequence[str], shown: int = SHOWN) -> str:
    """The first names, and how many more there are."""
    more = f", and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def table_faults(file: str | Path, suffixes: Sequence[str]) -> list[Fault]:
    """The fault of ``target.file`` that is not there, or that ends in none of ``suffixes``."""
    file = Path(file)
    rule = f"an existing file that ends in {', '.join(suffixes)}"
    if file.is_file():
        if file.suffix.lower() in suffixes:
            return []
        return [Fault(f"target.file={file}", rule, f"target.file={file.with_suffix(suffixes[0])}")]
    folder = file.parent
    beside = sorted(folder.iterdir()) if folder.is_dir() else []
    known = [one.name for one in beside if one.suffix.lower() in suffixes]
    guess = nearest(file.name, known, alike=0.75)
    rule += f"; beside it: {some(known)}" if known else ""
    return [
        Fault(f"target.file={file}", rule, f"target.file={folder / guess if guess else 'FILE'}")
    ]


def title_of(path: str) -> str:
    """The name of a file or folder as a name in records: letters, digits and ``._-``."""
    last = path.rstrip("/").rsplit("/", 1)[-1]
    letters = (c if c.isalnum() or c in "._-" else "_" for c in last)
    return "".join(letters).strip("._-") or "images"


def _inspect(file: Path) -> tuple[str, str | None]:
    try:
        content = file.read_bytes()
    except OSError as error:
        return "", error.strerror or type(error).__name__
    return hashlib.sha256(content).hexdigest(), verify(content)


def _read(file: Path, image: ImageSpec) -> NDArray[np.uint8]:
    try:
        return read_image(file, image)
    except Exception as error:  # see decode.verify; here the file changed after it was checked
        raise Refusal(
            Fault(
                f"{file} ({type(error).__name__}: {error})",
                "images stay as they were when the target was opened",
                "put the file back, or start again without it",
            )
        ) from error


def _map(function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """Results in order; in threads where there are many (Pillow decodes outside the GIL)."""
    items = list(items)
    if len(items) < _POOL_FROM:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(function, items)
