"""What is stored is found again bit for bit, or not at all."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import psutil
import pytest
import torch
from activations import Told, found, hidden, key, put, rows, spec_of, visible
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlsweep.features import Key, Spec, Store, open_store
from tlsweep.features.entry import map_file

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_come_back_bit_for_bit(store: Store, told: Told, dtype: torch.dtype) -> None:
    name, z = key(dtype=dtype), rows(dtype=dtype)
    z[0, 0], z[1, 1] = float("nan"), float("-inf")
    put(store, name, z)
    again = found(store, name)
    assert again.dtype == dtype
    assert torch.equal(again.view(torch.uint8), z.view(torch.uint8))
    assert told == []


def test_an_entry_knows_its_shape_and_size(store: Store) -> None:
    put(store, key(), rows(6, 12).view(6, 3, 2, 2))
    stored = store.find(key())
    assert stored is not None
    assert stored.shape == (6, 3, 2, 2)
    assert stored.tensor().shape == (6, 3, 2, 2)
    assert stored.nbytes == 6 * 12 * 4


def test_an_entry_without_rows_is_an_entry(store: Store) -> None:
    put(store, key(), rows(0))
    assert found(store, key()).shape == (0, 4)


def test_what_was_never_stored_is_not_found(store: Store, told: Told) -> None:
    assert store.find(key()) is None
    put(store, key(), rows())
    assert store.find(key("block4")) is None
    assert told == []


@pytest.mark.parametrize(
    "z",
    [
        torch.randn(5, 8, 3, 3).to(memory_format=torch.channels_last),
        torch.randn(5, 8, requires_grad=True),
        torch.randn(8, 5).T,
        torch.randn(10, 8)[::2],
    ],
)
def test_rows_are_stored_as_they_read_however_they_lie_in_memory(
    store: Store, z: torch.Tensor
) -> None:
    put(store, key(), z, chunks=(2,))
    assert torch.equal(found(store, key()), z)


@given(chunks=st.lists(st.integers(1, 6), min_size=1, max_size=6).filter(lambda c: sum(c) == 6))
@settings(max_examples=12, suppress_health_check=[HealthCheck.filter_too_much])
def test_however_the_rows_arrive_the_files_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[int]
) -> None:
    z = rows(6, 3 * 2**17)  # 1.5 MiB a row: blocks end within rows, and within batches
    contents = []
    for way in ([1] * 6, chunks):
        store = Store(tmp_path_factory.mktemp("store"), 2**30, Told())
        folder = put(store, key(), z, way)
        meta = json.loads((folder / "meta.json").read_text())
        del meta["made"], meta["checksum"]
        contents.append(((folder / "data.bin").read_bytes(), meta))
    assert contents[0] == contents[1]
    assert len(contents[0][1]["checksums"]) == 3


def test_the_record_beside_the_rows_can_be_read_by_people(store: Store) -> None:
    about = {"source": "glyphs", "split": "fit"}
    with store.writing([Spec(key(), (2, 4), torch.float32, about)]) as writers:
        writers[key()].append(rows(2))
    meta = json.loads((store.folder / key().digest / "meta.json").read_text())
    assert meta["key"] == key().fields
    assert (meta["about"], meta["shape"], meta["dtype"]) == (about, [2, 4], "float32")
    assert meta["bytes"] == 32


def test_a_tensor_maps_the_file_and_warns_of_nothing(store: Store) -> None:
    folder = put(store, key(), rows())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        z = found(store, key())
    maps = [m.path for m in psutil.Process().memory_maps(grouped=True)]
    assert str(folder / "data.bin") in maps
    del z


def test_writing_into_a_tensor_changes_neither_the_file_nor_another_tensor(store: Store) -> None:
    folder = put(store, key(), rows())
    before = (folder / "data.bin").read_bytes()
    one, other = found(store, key()), found(store, key())
    one.zero_()
    assert torch.equal(other, rows())
    assert (folder / "data.bin").read_bytes() == before


def test_an_entry_larger_than_memory_can_be_mapped(tmp_path: Path) -> None:
    size = 2 * psutil.virtual_memory().total
    with (tmp_path / "large").open("w+b") as file:
        os.truncate(file.fileno(), size)  # a hole: it takes no space
        mapping = map_file(file.fileno(), size)
    assert mapping is not None
    assert len(mapping) == size


# ------------------------------------------------------------------ writing
def test_one_pass_fills_several_entries(store: Store) -> None:
    names, z = [key("block1"), key("block2")], rows()
    with store.writing([spec_of(name, z) for name in names]) as writers:
        assert list(writers) == names
        for part in torch.split(z, 3):
            for number, name in enumerate(names):
                writers[name].append(part + number)
    assert torch.equal(found(store, names[0]), z)
    assert torch.equal(found(store, names[1]), z + 1)


def test_only_what_is_missing_has_a_writer(store: Store) -> None:
    put(store, key("block1"), rows())
    with store.writing([spec_of(key(c), rows()) for c in ("block1", "block2")]) as writers:
        assert list(writers) == [key("block2")]
        writers[key("block2")].append(rows())
    with store.writing([spec_of(key(c), rows()) for c in ("block1", "block2")]) as writers:
        assert writers == {}


def test_nothing_is_visible_before_the_block_ends(store: Store) -> None:
    with store.writing([spec_of(key(), rows())]) as writers:
        writers[key()].append(rows())
        assert visible(store.folder) == []
        assert store.find(key()) is None
    assert visible(store.folder) == [key().digest]
    assert hidden(store.folder) == []


def test_an_error_in_the_block_keeps_nothing_and_is_not_changed(store: Store, told: Told) -> None:
    def fail() -> None:
        with store.writing([spec_of(key(), rows())]) as writers:
            writers[key()].append(rows())
            raise FileNotFoundError("of the caller")

    with pytest.raises(FileNotFoundError, match="of the caller"):
        fail()
    assert visible(store.folder) == hidden(store.folder) == []
    assert told == []
    put(store, key(), rows())  # its lock is free again


def test_an_entry_short_of_rows_is_an_error_and_the_complete_ones_are_kept(store: Store) -> None:
    names = [key("block1"), key("block2")]

    def stop_early() -> None:
        with store.writing([spec_of(name, rows()) for name in names]) as writers:
            writers[names[0]].append(rows())
            writers[names[1]].append(rows(3))

    with pytest.raises(ValueError, match="3 rows of an entry with 10"):
        stop_early()
    assert visible(store.folder) == [names[0].digest]
    assert hidden(store.folder) == []


@pytest.mark.parametrize(
    "batch", [rows(11), rows(2, 5), rows(2, dtype=torch.float16), rows(2)[0], torch.tensor(1.0)]
)
def test_rows_other_than_promised_are_refused(store: Store, batch: torch.Tensor) -> None:
    with (
        pytest.raises(ValueError),
        store.writing([spec_of(key(), rows())]) as writers,
    ):
        writers[key()].append(batch)


def test_a_key_given_twice_is_an_error(store: Store) -> None:
    with pytest.raises(ValueError, match="twice"), store.writing([spec_of(key(), rows())] * 2):
        pass


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        (key(), (3, 4), torch.float16),
        (key(dtype=torch.complex64), (3, 4), torch.complex64),
        (key(), (), torch.float32),
        (key(), (-1, 4), torch.float32),
    ],
)
def test_a_spec_that_contradicts_its_key_or_cannot_be_stored_is_an_error(
    name: Key, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    with pytest.raises(ValueError):
        Spec(name, shape, dtype)


def test_the_store_of_the_settings_is_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLSWEEP_CACHE", str(tmp_path / "cache"))
    store = open_store(budget_gb=0.5, cache_dir=None, say=print)
    assert store.folder == tmp_path / "cache" / "features"
    assert store.budget_bytes == 2**29
    assert open_store(budget_gb=1, cache_dir="x", say=print).folder == Path("x") / "features"
    assert not (tmp_path / "cache").exists()
