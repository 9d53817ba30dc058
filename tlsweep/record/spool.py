"""The spool: what a record is to be told, kept on disk until it was told.

A file for each writer, a line for each entry. Who writes holds a lock for as long as it lives; who
tells notes beside the file how far it came. So training waits for no server, and nothing is lost
when a process or a server dies.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tlsweep.files import write_whole

Entry = dict[str, Any]  # "do": what, "run": of which run, and what that needs, as JSON values
FOLDER = ".spool"  # of output_dir
_LOGGED = {"metrics", "params", "tags"}  # of an entry that logs
_ENTRIES, _LOCK, _SENT, _WHERE, _EXPERIMENT = ".jsonl", ".lock", ".sent", "where", "experiment"


class Writer:
    """Adds entries to a file of its own. Any thread may. Raises OSError where it cannot."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = f"{time.time_ns()}-{secrets.token_hex(4)}"
        self._lock = FileLock(folder / f"{self.name}{_LOCK}", thread_local=False)
        self._lock.acquire()  # before the file is there to be looked at
        self._file = (folder / f"{self.name}{_ENTRIES}").open("ab", buffering=0)
        self._one = threading.Lock()

    def add(self, entry: Mapping[str, Any]) -> None:
        """Write an entry, whole or not at all."""
        line = json.dumps(entry).encode() + b"\n"
        with self._one:
            before = self._file.tell()
            try:
                while line:
                    line = line[self._file.write(line) :]
            except OSError:  # a full disk: half a line would spoil the next one
                self._file.truncate(before)
                raise

    def close(self) -> None:
        """Nothing more will be written."""
        self._file.close()
        self._lock.release()


class Backlog:
    """What one writer wrote, and how far it was told.

    sure: whether the next entry was certainly not told before: who told the last one may have died
    before it noted that.
    """

    def __init__(self, file: Path) -> None:
        self.file, self.name, self.sure = file, file.stem, False
        self.told = 0  # bytes
        with suppress(OSError, ValueError):
            self.told = int(file.with_suffix(_SENT).read_text())

    def left(self) -> list[tuple[Entry, int]]:
        """The entries that were not told, each with where it ends. What cannot be read is {}."""
        found, end = [], self.told
        with self.file.open("rb") as stream:
            stream.seek(self.told)
            for line in stream:
                if not line.endswith(b"\n"):
                    break  # it is being written, or its writer was killed
                end += len(line)
                found.append((_entry(line), end))
        return found

    def note(self, end: int) -> None:
        """All entries up to there were told."""
        write_whole(self.file.with_suffix(_SENT), str(end).encode())
        self.told, self.sure = end, True

    def is_left(self) -> bool:
        """Whether its writer is gone."""
        lock = FileLock(self.file.with_suffix(_LOCK), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return False
        lock.release()
        return True

    def open_runs(self) -> list[str]:
        """The runs that its writer began and did not end."""
        found: dict[str, None] = {}
        for line in self.file.read_bytes().splitlines():
            entry = _entry(line)
            if entry.get("do") in ("begin", "go_on"):
                found[entry["run"]] = None
            elif entry.get("do") == "end":
                found.pop(entry["run"], None)
        return list(found)

    def remove(self) -> None:
        """Take its files away."""
        for ending in (_ENTRIES, _SENT, _LOCK):
            self.file.with_suffix(ending).unlink(missing_ok=True)


def _entry(line: bytes) -> Entry:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("run"), str) else {}


def backlogs(folder: Path) -> list[Path]:
    """The files of all writers, the oldest first."""
    return sorted(folder.glob(f"*{_ENTRIES}"))


def waiting(folder: Path) -> int:
    """How many entries wait to be told."""
    count = 0
    for file in backlogs(folder):
        with suppress(FileNotFoundError), file.open("rb") as stream:  # told this moment
            stream.seek(Backlog(file).told)
            count += stream.read().count(b"\n")
    return count


def name_place(spool: Path, address: str, experiment_id: str) -> None:
    """Keep with a part of a spool whom it is for. address: without a password."""
    with suppress(OSError):  # whoever writes there says what is wrong
        spool.mkdir(parents=True, exist_ok=True)
        write_whole(spool / _WHERE, address.encode())
        write_whole(spool / _EXPERIMENT, experiment_id.encode())


def experiment_of(spool: Path) -> str | None:
    """The id of the experiment that a part of a spool is for; None where it was never heard."""
    with suppress(OSError):
        return (spool / _EXPERIMENT).read_text()
    return None


def waits(output_dir: Path) -> dict[str, int]:
    """How much waits in the spool of a results folder, by the address that it is for."""
    found = {}
    for place in sorted((output_dir / FOLDER).glob("*")):
        if count := waiting(place):
            with suppress(OSError):
                found[(place / _WHERE).read_text()] = count
    return found


def merged(entries: Sequence[tuple[Entry, int]], most: int) -> Iterator[tuple[Entry, int]]:
    """The entries, where those that log numbers of one run one after another are a single one.

    most: how many numbers an entry may hold that others are added to.
    """
    last: tuple[Entry, int] | None = None
    for entry, end in entries:
        if last is not None and _go_together(last[0], entry, most):
            texts = {key: {**last[0][key], **entry[key]} for key in ("params", "tags")}
            last = {**last[0], **texts, "metrics": [*last[0]["metrics"], *entry["metrics"]]}, end
            continue
        if last is not None:
            yield last
        last = entry, end
    if last is not None:
        yield last


def _go_together(one: Entry, two: Entry, most: int) -> bool:
    if not (one.get("do") == two.get("do") == "log" and one["run"] == two["run"]):
        return False
    whole = all(entry.keys() >= _LOGGED for entry in (one, two))  # a file may have been edited
    return whole and len(one["metrics"]) + len(two["metrics"]) <= most
