"""Folders and files in a zip, read where they lie: nothing is unpacked."""

from __future__ import annotations

import errno
import functools
import lzma
import os
import shlex
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import ZipFile, ZipInfo

from tlsweep.errors import Fault, Refusal
from tlsweep.files import in_words
from tlsweep.target.several import some

_READ = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_TOP = PurePosixPath()
_UTF_8, _ENCRYPTED = 0x800, 0x1  # bits of an entry's flags
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


@dataclass(frozen=True, eq=False)
class Archive:
    """What a zip holds: its files, and of each folder the names of the folders and files in it."""

    file: Path
    entries: dict[PurePosixPath, ZipInfo]
    folders: dict[PurePosixPath, tuple[set[str], set[str]]]


@dataclass(frozen=True)
class Inside:
    """A file or a folder in a zip, which answers as a Path does."""

    archive: Archive
    place: PurePosixPath

    def __str__(self) -> str:
        return str(self.archive.file / self.place)

    def __truediv__(self, name: str) -> Inside:
        return Inside(self.archive, self.place / name)

    @property
    def name(self) -> str:
        """Its own name; of the zip itself that of the file, without the ending."""
        return self.place.name or self.archive.file.stem

    @property
    def suffix(self) -> str:
        """How the name ends."""
        return self.place.suffix

    @property
    def parent(self) -> Inside:
        """The folder that it is in."""
        return Inside(self.archive, self.place.parent)

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self.place in self.archive.folders

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self.place in self.archive.entries

    def iterdir(self) -> Iterator[Inside]:
        """What is in this folder."""
        for names in self.archive.folders[self.place]:
            yield from (self / name for name in names)

    def read_bytes(self) -> bytes:
        """The file's content. Raises OSError where it is damaged, or not there."""
        # a process that was forked shares its place in an opened file with its parent
        opened, lock = _opened(self.archive.file, os.getpid())
        try:
            with lock, opened.open(self.archive.entries[self.place]) as file:
                return file.read()
        except KeyError as error:
            raise FileNotFoundError(errno.ENOENT, "not in the zip", str(self)) from error
        except _DAMAGED as error:
            raise OSError(errno.EIO, "damaged in the zip", str(self)) from error


AnyPath = Path | Inside


@functools.lru_cache(maxsize=8)
def _opened(file: Path, process: int) -> tuple[ZipFile, threading.Lock]:
    return ZipFile(file), threading.Lock()


def place_of(path: str | Path) -> AnyPath:
    """The file or folder of this name, in a zip where the path leads through one.

    Raises Refusal for a file in its place that is no zip, or none that can be read.
    """
    path = Path(path)
    if path.exists():
        return Inside(_archive(path), _TOP) if path.is_file() else path
    file = next((one for one in path.parents if one.is_file()), None)
    return path if file is None else Inside(_archive(file), PurePosixPath(path.relative_to(file)))


def file_of(path: Path) -> AnyPath:
    """The file of this name, in a zip where the path leads through one; it need not be there."""
    return path if path.is_file() else place_of(path)


def below(one: AnyPath, folder: AnyPath) -> str:
    """The path of one from a folder that it is in, with slashes."""
    return Path(str(one)).relative_to(str(folder)).as_posix()


def walk(folder: AnyPath) -> Iterator[tuple[AnyPath, list[str], list[str]]]:
    """As os.walk does from the top, links followed: what is taken from the folders is not seen."""
    if isinstance(folder, Path):
        for here, folders, files in os.walk(folder, followlinks=True):
            yield Path(here), folders, files
        return
    folders, files = (list(names) for names in folder.archive.folders[folder.place])
    yield folder, folders, files
    for name in folders:
        yield from walk(folder / name)


def is_of_a_tool(name: str) -> bool:
    """Whether a file or folder is left by a tool (.ipynb_checkpoints, __MACOSX, @eaDir)."""
    return name.startswith((".", "__", "@"))


@functools.lru_cache(maxsize=8)
def _archive_at(file: Path, size: int, written_ns: int) -> Archive:
    try:
        with ZipFile(file) as opened:
            infos = opened.infolist()
    except (*_DAMAGED, OSError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        rule = "a file in the place of a folder is a zip of one, whole"
        raise Refusal(Fault(f"{file} ({reason})", rule, _unpacked(file))) from error
    found = Archive(file, {}, {_TOP: (set(), set())})
    strange: dict[str, list[str]] = {}
    for info in infos:
        name = _name(info)
        if why := _why_not(info, name, found):
            strange.setdefault(why, []).append(in_words(name))
        else:
            _add(found, PurePosixPath(name), info)
    if strange:
        raise Refusal(*(_strange(file, why, names) for why, names in strange.items()))
    return found


def _archive(file: Path) -> Archive:
    about = file.stat()  # another zip of the same name is read anew
    return _archive_at(file, about.st_size, about.st_mtime_ns)


def _name(info: ZipInfo) -> str:
    """An entry's name. Macs do not say that it is UTF-8, old tools of Windows write backslashes."""
    name = info.filename
    if not info.flag_bits & _UTF_8 and not name.isascii():
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _why_not(info: ZipInfo, name: str, found: Archive) -> str | None:
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or name[1:2] == ":":
        return "leads out of the zip"
    if info.flag_bits & _ENCRYPTED:
        return "encrypted"
    if info.compress_type not in _READ:
        return "compressed in a way that Python does not read"
    if not name.endswith("/") and (place in found.entries or place in found.folders):
        return "there twice"
    return None


def _add(found: Archive, place: PurePosixPath, info: ZipInfo) -> None:
    parts = place.parts if info.is_dir() or info.filename.endswith("\\") else place.parts[:-1]
    here = _TOP
    for part in parts:
        found.folders[here][0].add(part)
        here /= part
        found.folders.setdefault(here, (set(), set()))
    if len(parts) < len(place.parts):
        found.folders[here][1].add(place.name)
        found.entries[place] = info


def _strange(file: Path, why: str, names: list[str]) -> Fault:
    value = f"{file}, {why}: {some(names)}"
    rule = "files in a zip lie below it, each once, without a password, stored or deflated"
    mend = "make the zip anew" if why.startswith(("leads", "there")) else _unpacked(file)
    return Fault(value, rule, mend)


def _unpacked(file: Path) -> str:
    """The command that unpacks a file beside itself, and what is then named in its place."""
    folder = file.with_name(file.name.split(".", 1)[0] or "unpacked")
    here, there = shlex.quote(str(file)), shlex.quote(str(folder))
    command = f"unzip {here} -d {there}"
    if ".tar" in file.suffixes or file.suffix == ".tgz":
        command = f"mkdir -p {there} && tar -xf {here} -C {there}"
    return f"{command}, then {folder} in its place"
