"""The activation store: what one process has computed, every process finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tlsweep.features import shelf
from tlsweep.features.entry import META, Damaged, Meta, Spec, Stored, check_entry, open_entry
from tlsweep.features.key import Key
from tlsweep.features.refused import NotStored, as_not_stored, size_text
from tlsweep.features.room import Room, measure
from tlsweep.features.shelf import Kept
from tlsweep.features.writer import Writer
from tlsweep.files import cache_folder

_LOCKS = ".locks"


class Store:
    """Activations in a folder, one entry a key, shared by all processes that can reach the folder.

    folder: made when the first entry is; budget_bytes: most that all entries take together; say:
    told, in words for the user, what was dropped or could not be stored. Needs POSIX file locks to
    let processes wait for each other; a process that is killed holds none.
    """

    def __init__(self, folder: Path, budget_bytes: int, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.budget_bytes = budget_bytes
        self._say = say
        self._said: set[str] = set()

    # ------------------------------------------------------------------ reading
    def holds(self, key: Key) -> bool:
        """Whether there is an entry of ``key``, as far as can be said without reading it."""
        return (self.folder / key.digest / META).exists()

    def find(self, key: Key) -> Stored | None:
        """The entry of ``key``, or None. Finding it marks it as used.

        Its checksums are compared once a process. A damaged entry is dropped with a message, and
        counts as not there.
        """
        folder = self.folder / key.digest
        try:
            found = open_entry(folder)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Damaged as damage:
            self._drop(folder, str(damage))
            return None
        except OSError as error:
            self._say_once(f"{folder} cannot be read ({error.strerror}): computed anew")
            return None
        shelf.mark_used(folder)
        return found

    def _drop(self, folder: Path, reason: str) -> None:
        # Another process may have dropped the same entry and written it anew by now. Then a whole
        # entry goes, and is computed once more: that costs time, and nothing else.
        try:
            shelf.take_away(folder)
        except OSError as error:
            self._say_once(
                f"stored activations in {folder} are damaged ({reason}), are not used, and could"
                f" not be removed ({error.strerror})"
            )
        else:
            self._say(f"stored activations {folder.name[:12]} were damaged ({reason}): dropped")

    # ------------------------------------------------------------------ writing
    def room(self, needed: int) -> Room:
        """Whether ``needed`` more bytes can be stored, if need be by evicting others."""
        return measure(self.folder, needed, self.budget_bytes)

    @contextmanager
    def writing(self, specs: Sequence[Spec]) -> Iterator[Mapping[Key, Writer]]:
        """Writers for those of ``specs`` that are not stored yet, to be filled in the block.

        Where another process is writing one of them, this waits for it first; so what two want at
        once is computed once. On leaving without an error every complete entry is put in its
        place, on an error none. Room is made by evicting the entries that were used least recently
        and are not in use. Raises NotStored, after it was said, where the budget, the disk or its
        permissions do not allow it; ValueError for a key given twice, and for an entry with fewer
        rows than promised, which is not kept.
        """
        if len({spec.key for spec in specs}) != len(specs):
            raise ValueError("a key is given twice")
        with self._told(), ExitStack() as stack:
            with as_not_stored(self.folder):
                writers = self._begin(specs, stack)
            yield {writer.spec.key: writer for writer in writers}
            with as_not_stored(self.folder):
                for writer in writers:
                    if writer.complete:
                        writer.finish()
        for writer in writers:
            if not writer.complete:
                promised = writer.spec.shape[0]
                raise ValueError(f"{writer.rows} rows of an entry with {promised}")

    def _begin(self, specs: Sequence[Spec], stack: ExitStack) -> list[Writer]:
        # what is there already is held until the block ends, so that making room evicts none of it
        held = self._present(specs)
        if len(held) == len(specs):
            return []
        (self.folder / _LOCKS).mkdir(parents=True, exist_ok=True)
        # in one order everywhere, so that two processes never wait for each other
        for digest in sorted(spec.key.digest for spec in specs if spec.key not in held):
            self._lock(digest, stack)
        # they may have been written while this process waited
        held = self._present(specs)
        stack.callback(held.clear)
        missing = [spec for spec in specs if spec.key not in held]
        if not missing:
            return []
        with self._door():
            shelf.sweep_leftovers(self.folder)
            self._make_room(sum(spec.nbytes for spec in missing))
            return [self._writer(spec, stack) for spec in missing]

    def _present(self, specs: Sequence[Spec]) -> dict[Key, Stored]:
        found = {spec.key: self.find(spec.key) for spec in specs}
        return {key: stored for key, stored in found.items() if stored is not None}

    def _lock(self, digest: str, stack: ExitStack) -> None:
        lock = FileLock(self.folder / _LOCKS / digest)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self._say_once("another process is storing these activations: waiting for it")
            lock.acquire(poll_interval=0.1)
        stack.callback(lock.release)

    def _make_room(self, needed: int) -> None:
        room = self.room(needed)
        if room.fits and room.to_evict:
            gone = self._evict(room.to_evict)
            size = size_text(sum(entry.nbytes for entry in gone))
            entries = "entry" if len(gone) == 1 else "entries"
            self._say(f"{len(gone)} stored {entries} ({size}), the least recently used, made room")
            room = self.room(needed)  # a process may have begun to read one of them meanwhile
        if not room.fits or room.to_evict:
            raise NotStored(room.fault(self.folder))

    def _writer(self, spec: Spec, stack: ExitStack) -> Writer:
        writer = Writer(spec, self.folder)
        stack.callback(writer.discard)
        return writer

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except NotStored as error:
            if self.budget_bytes:  # else to store nothing is what was asked for
                self._say_once(str(error.fault))
            raise

    # ------------------------------------------------------------------ housekeeping
    def entries(self) -> list[Kept]:
        """All entries, the least recently used first. Raises OSError for an unreadable folder."""
        return shelf.kept(self.folder)

    def check(self, digest: str) -> Meta | None:
        """Compare an entry with its checksums; None for a damaged one, dropped with a message."""
        folder = self.folder / digest
        try:
            return check_entry(folder)
        except FileNotFoundError:
            return None
        except Damaged as damage:
            self._drop(folder, str(damage))
            return None

    def prune(self, budget_bytes: int) -> list[Kept]:
        """Evict the least recently used until all take at most ``budget_bytes``; returns those.

        What is in use stays. Raises OSError where the folder cannot be written to.
        """
        return self._tidy(sum(entry.nbytes for entry in self.entries()) - budget_bytes)

    def clear(self) -> list[Kept]:
        """Evict all that is not in use, as ``prune``."""
        return self._tidy(math.inf)

    def _tidy(self, needed: float) -> list[Kept]:
        if not self.folder.is_dir():
            return []
        (self.folder / _LOCKS).mkdir(exist_ok=True)
        with self._door():
            shelf.sweep_leftovers(self.folder)
            return self._evict(needed)

    def _evict(self, needed: float) -> list[Kept]:
        """Take entries away, the least recently used first, until ``needed`` bytes are gone."""
        gone: list[Kept] = []
        for entry in self.entries():
            if needed > 0 and not entry.in_use:
                shelf.take_away(entry.folder)
                gone.append(entry)
                needed -= entry.nbytes
        return gone

    def _door(self) -> FileLock:
        """The short lock under which room is made and taken, so that two do not take the same."""
        return FileLock(self.folder / _LOCKS / "door")

    # ------------------------------------------------------------------ words
    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)


def open_store(
    *, budget_gb: float, cache_dir: str | Path | None, say: Callable[[str], None]
) -> Store:
    """The store that the settings in conf/features describe; nothing is made or read yet."""
    return Store(cache_folder(cache_dir) / "features", int(budget_gb * 2**30), say)
