"""The budget and the disk are respected, and a store that cannot store is survived."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from activations import Told, found, hidden, key, put, rows, spec_of, visible

from tlsweep.features import NotStored, Store, size_text

# 64 kB an entry, with its record a little more
CUTS = ("block1", "block2", "block3", "block4")
Z = rows(64, 256)
SIZE = 2**16


def filled(store: Store, used: dict[str, int]) -> None:
    """Entries at these cut points, last used that many seconds ago."""
    for cut, ago in used.items():
        put(store, key(cut), Z)
        _last_used(store, cut, ago)


def _last_used(store: Store, cut: str, ago: int) -> None:
    meta = store.folder / key(cut).digest / "meta.json"
    then = meta.stat().st_mtime - ago
    os.utime(meta, (then, then))


def cuts(store: Store) -> list[str]:
    return [cut for cut in (*CUTS, "new") if store.find(key(cut)) is not None]


@pytest.fixture
def for_three(tmp_path: Path, told: Told) -> Store:
    """A store with room for three entries, not for four."""
    return Store(tmp_path / "features", 3 * SIZE + SIZE // 2, told)


# ------------------------------------------------------------------ the budget
def test_the_entry_that_was_used_least_recently_makes_room(for_three: Store, told: Told) -> None:
    filled(for_three, {"block1": 20, "block2": 30, "block3": 10})
    put(for_three, key("new"), Z)
    assert cuts(for_three) == ["block1", "block3", "new"]
    (said,) = told
    assert said.startswith("1 stored entry (64.0 kB)")
    assert said.endswith("the least recently used, made room")


def test_finding_an_entry_counts_as_using_it(for_three: Store) -> None:
    filled(for_three, {"block1": 20, "block2": 30, "block3": 10})
    assert for_three.find(key("block2")) is not None
    put(for_three, key("new"), Z)
    assert cuts(for_three) == ["block2", "block3", "new"]


def test_as_many_are_evicted_as_have_to_be(for_three: Store) -> None:
    filled(for_three, {"block1": 30, "block2": 20, "block3": 10})
    put(for_three, key("new"), rows(128, 256))
    assert cuts(for_three) == ["block3", "new"]


def test_what_this_process_uses_is_not_evicted(for_three: Store) -> None:
    filled(for_three, {"block1": 30, "block2": 20, "block3": 10})
    z = found(for_three, key("block1"))  # the tensor alone holds it
    _last_used(for_three, "block1", 40)
    put(for_three, key("new"), Z)
    assert cuts(for_three) == ["block1", "block3", "new"]
    del z


def test_what_is_asked_for_in_the_same_breath_is_not_evicted(for_three: Store) -> None:
    filled(for_three, {"block1": 30, "block2": 20, "block3": 10})
    with for_three.writing([spec_of(key(cut), Z) for cut in ("block1", "new")]) as writers:
        _last_used(for_three, "block1", 40)
        writers[key("new")].append(Z)
    assert cuts(for_three) == ["block1", "block3", "new"]


def test_more_than_the_budget_is_not_stored_and_evicts_nothing(
    for_three: Store, told: Told
) -> None:
    filled(for_three, {"block1": 30, "block2": 20})
    for _ in range(2):
        with pytest.raises(NotStored) as caught:
            put(for_three, key("new"), rows(256, 256))
    assert cuts(for_three) == ["block1", "block2"]
    assert hidden(for_three.folder) == []
    assert caught.value.fault.value == (
        "activations of 256.0 kB are not stored but computed anew: the budget is 224.0 kB"
    )
    assert caught.value.fault.mend == "features.budget_gb=0.1"
    assert told == [str(caught.value.fault)]  # once


def test_what_is_in_use_lessens_the_room_and_is_named(for_three: Store) -> None:
    filled(for_three, {"block1": 30, "block2": 20})
    held = for_three.find(key("block1"))
    room = for_three.room(3 * SIZE)
    assert not room.fits
    assert room.busy == SIZE
    assert ", 64.0 kB of it in use" in room.fault(for_three.folder).value
    del held
    assert for_three.room(3 * SIZE).fits
    assert cuts(for_three) == ["block1", "block2"]  # to ask for room takes nothing away


def test_what_another_writer_has_promised_counts_before_it_is_written(for_three: Store) -> None:
    with for_three.writing([spec_of(key("block1"), Z)]) as writers:
        assert for_three.room(2 * SIZE).fits
        assert not for_three.room(3 * SIZE).fits
        writers[key("block1")].append(Z)


def test_a_budget_of_nothing_stores_nothing_and_says_nothing(tmp_path: Path, told: Told) -> None:
    store = Store(tmp_path / "features", 0, told)
    with pytest.raises(NotStored):
        put(store, key(), Z)
    assert told == []
    assert store.find(key()) is None


def test_pruning_leaves_what_was_used_last(for_three: Store) -> None:
    filled(for_three, {"block1": 20, "block2": 30, "block3": 10})
    gone = for_three.prune(SIZE + SIZE // 2)
    assert [entry.digest for entry in gone] == [key("block2").digest, key("block1").digest]
    assert cuts(for_three) == ["block3"]
    assert for_three.prune(SIZE * 2) == []


def test_clearing_leaves_nothing_but_locks(for_three: Store) -> None:
    filled(for_three, {"block1": 20, "block2": 30})
    put(for_three, key("empty"), rows(0))
    (for_three.folder / key("block1").digest / "meta.json").unlink()
    assert len(for_three.clear()) == 3
    assert visible(for_three.folder) == hidden(for_three.folder) == []


def test_a_store_that_was_never_written_to_can_be_asked_anything(store: Store) -> None:
    assert store.entries() == store.clear() == store.prune(0) == []
    assert store.room(10).fits
    assert store.check("abc") is None
    assert not store.folder.exists()


# ------------------------------------------------------------------ the disk
def test_a_disk_without_room_is_known_before_anything_is_written(
    small_disk: Path, told: Told
) -> None:
    store = Store(small_disk / "features", 2**30, told)
    assert not store.room(20 * 2**20).fits
    with (
        pytest.raises(NotStored, match="can spare 15"),
        store.writing([spec_of(key(), torch.empty(20, 2**18))]),
    ):
        pass
    assert len(told) == 1
    assert "features.cache_dir=FOLDER on another one" in told[0]
    assert visible(store.folder) == hidden(store.folder) == []


def test_entries_are_evicted_for_the_disks_sake_too(small_disk: Path, told: Told) -> None:
    store = Store(small_disk / "features", 2**30, told)
    put(store, key("block1"), torch.zeros(10, 2**18))
    put(store, key("new"), torch.zeros(10, 2**18))
    assert cuts(store) == ["new"]


def test_a_disk_that_fills_up_while_writing_is_survived(small_disk: Path, told: Told) -> None:
    store, z = Store(small_disk / "features", 2**30, told), torch.randn(8, 2**18)
    filler = small_disk / "filler"

    def write() -> None:
        with store.writing([spec_of(key("block1"), z), spec_of(key("new"), z[:1])]) as writers:
            writers[key("new")].append(z[:1])
            writers[key("block1")].append(z[:2])
            _fill(filler)
            writers[key("block1")].append(z[2:])

    for _ in range(2):
        with pytest.raises(NotStored) as caught:
            write()
        assert visible(store.folder) == hidden(store.folder) == []
        filler.unlink()
    assert "No space left on device" in caught.value.fault.value
    assert told == [str(caught.value.fault)]
    put(store, key("block1"), z)
    assert cuts(store) == ["block1"]


def test_a_disk_that_is_full_at_the_very_end_is_survived(small_disk: Path, told: Told) -> None:
    store, z = Store(small_disk / "features", 2**30, told), torch.randn(8, 2**10)

    def write() -> None:
        with store.writing([spec_of(key(), z)]) as writers:
            writers[key()].append(z)
            _fill(small_disk / "filler")  # no room for the record

    with pytest.raises(NotStored):
        write()
    assert visible(store.folder) == hidden(store.folder) == []
    assert len(told) == 1


def test_a_file_that_may_not_grow_is_survived(tmp_path: Path, told: Told) -> None:
    """For those who are not root: a limit of the process stands for a full disk."""
    store, z = Store(tmp_path / "features", 2**30, told), torch.randn(8, 2**18)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def write() -> None:
        with store.writing([spec_of(key(), z)]) as writers:
            writers[key()].append(z[:2])
            resource.setrlimit(resource.RLIMIT_FSIZE, (4 * 2**20, limits[1]))
            writers[key()].append(z[2:])

    try:
        with pytest.raises(NotStored, match="File too large"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert visible(store.folder) == hidden(store.folder) == []
    assert len(told) == 1


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        for size in (2**20, 2**12):
            with contextlib.suppress(OSError):
                while stream.write(bytes(size)):
                    pass


def test_a_folder_that_cannot_be_written_to_is_survived_and_still_read(
    small_disk: Path, told: Told, make_read_only: Callable[[], None]
) -> None:
    store = Store(small_disk / "features", 2**30, told)
    put(store, key("block1"), Z)
    make_read_only()
    assert torch.equal(found(store, key("block1")), Z)
    with store.writing([spec_of(key("block1"), Z)]) as writers:
        assert writers == {}
    for _ in range(2):
        with pytest.raises(NotStored, match="Read-only"):
            put(store, key("new"), Z)
    (said,) = told
    assert "mend: features.cache_dir=FOLDER, a folder of your own" in said


def test_a_damaged_entry_that_cannot_be_removed_is_not_used(
    small_disk: Path, told: Told, make_read_only: Callable[[], None]
) -> None:
    store = Store(small_disk / "features", 2**30, told)
    (put(store, key(), Z) / "meta.json").write_text("{")
    make_read_only()
    assert store.find(key()) is store.find(key()) is None
    (said,) = told
    assert "could not be removed (Read-only file system)" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_survived(store: Store, told: Told) -> None:
    store.folder.mkdir()
    store.folder.chmod(0o500)
    with pytest.raises(NotStored, match="Permission denied"):
        put(store, key(), Z)
    assert len(told) == 1


def test_a_folder_below_a_file_is_survived(tmp_path: Path, told: Told) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "features", 2**30, told)
    assert store.find(key()) is None
    with pytest.raises(NotStored):
        put(store, key(), Z)
    assert len(told) == 1


def test_a_folder_that_vanishes_between_two_writes_is_made_anew(store: Store) -> None:
    put(store, key("block1"), Z)
    shutil.rmtree(store.folder)
    put(store, key("new"), Z)
    assert cuts(store) == ["new"]


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0.0 kB"), (1536, "1.5 kB"), (2**20, "1.0 MB"), (2**41, "2,048.0 GB")]
)
def test_sizes_are_told_in_the_unit_of_the_budget(n_bytes: int, text: str) -> None:
    assert size_text(n_bytes) == text
