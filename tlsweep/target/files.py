"""Targets whose images lie in files: each is checked once, and decoded when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tlsweep.errors import Fault, Refusal, nearest
from tlsweep.target.base import Progress
from tlsweep.target.decode import MAX_PIXELS, Readable, read_image
from tlsweep.target.images import ImageTarget
from tlsweep.target.limits import DISK_GB
from tlsweep.target.look import Files, Seen
from tlsweep.target.several import in_threads, some
from tlsweep.target.zipped import AnyPath, file_of, is_of_a_tool, place_of, walk
from tlsweep.task import Task, Truth
from tlsweep.terms import ImageSpec, Levels, Split

if TYPE_CHECKING:
    from torch import Tensor


class FileTarget(ImageTarget):
    """Images in files. files: by what people call each, in the order of the examples."""

    def __init__(
        self,
        name: str,
        output_names: tuple[str, ...],
        labels: Truth,
        fingerprint: str,
        files: Files,
        seen: Seen,
        given: Mapping[Split, NDArray[np.int64]] | None = None,
        ram_gb: float = 4.0,
        task: Task | None = None,
        max_pixels: int = MAX_PIXELS,
        disk_gb: float = DISK_GB,
        progress: Progress | None = None,
    ) -> None:
        self._files, self._most = tuple(files), max_pixels
        contents = seen.contents
        super().__init__(
            name, output_names, labels, fingerprint, given, ram_gb, contents, task, disk_gb
        )
        self.levels, self.said = seen.levels, seen.said
        if seen.thumbs is not None:
            self.keep_copies_together(seen.thumbs, progress)

    def called(self, index: int) -> str:
        """The file, as seen from the target's own place."""
        return self._files[index][0]

    def pixels(self, indices: NDArray[np.int64], image: ImageSpec) -> Tensor:
        """Decode files and bring them to ``image``: uint8 [k, C, size, size]."""
        import torch

        out = np.empty((len(indices), image.channels, image.size, image.size), dtype=np.uint8)
        files = [self._files[index][1] for index in indices]
        read = partial(_read, image=image, levels=self.levels, most=self._most)
        for row, decoded in enumerate(in_threads(read, files)):
            out[row] = decoded
        return torch.from_numpy(out)


def left_of(
    given: Mapping[Split, NDArray[np.int64]], kept: NDArray[np.int64]
) -> dict[Split, NDArray[np.int64]]:
    """The rows of each split once only ``kept`` are left, counted among these."""
    return {split: np.flatnonzero(np.isin(kept, rows)) for split, rows in given.items()}


def table_at(file: str | Path, suffixes: Sequence[str]) -> AnyPath:
    """The table of ``target.file``, which may lie in a zip; of a zip itself the one in it.

    Raises Refusal for one that is not there, or that ends in none of ``suffixes``, and for a zip
    that does not hold one table.
    """
    path = Path(file)
    if path.suffix.lower() == ".zip" and path.is_file():
        return _only_table(path, suffixes)
    place = file_of(path)
    inside = not isinstance(place, Path) and place.is_file() and place.suffix.lower() in suffixes
    if not inside and (faults := table_faults(file, suffixes)):
        raise Refusal(*faults)
    return place


def _only_table(file: Path, suffixes: Sequence[str]) -> AnyPath:
    found: list[AnyPath] = []
    for here, folders, files in walk(place_of(file)):
        folders[:] = [name for name in folders if not is_of_a_tool(name)]
        named = (name for name in sorted(files) if not is_of_a_tool(name))
        found += [here / name for name in named if Path(name).suffix.lower() in suffixes]
    if len(found) == 1:
        return found[0]
    names = f": {some([str(one) for one in found])}" if found else ""
    value = f"target.file={file}: {len(found)} tables are in it{names}"
    rule = f"a zip with one table ({', '.join(suffixes)}) in it, or the path of one"
    raise Refusal(Fault(value, rule, f"target.file={found[0] if found else 'FILE'}"))


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


def _read(file: Readable, image: ImageSpec, levels: Levels | None, most: int) -> NDArray[np.uint8]:
    try:
        return read_image(file, image, levels=levels, most=most)
    except Exception as error:  # see look.py; here the file changed after it was checked
        raise Refusal(
            Fault(
                f"{file} ({type(error).__name__}: {error})",
                "images stay as they were when the target was opened",
                "put the file back, or start again without it",
            )
        ) from error
