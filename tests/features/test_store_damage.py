"""An entry that is not what was written is noticed, dropped with a message, and made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from activations import Told, found, hidden, key, put, rows, visible
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsweep.features import Store
from tlsweep.features.entry import BLOCK, Damaged, check_entry, checksum_of

LARGE = rows(5, BLOCK // 16 + 3)  # two blocks, the second one short


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an entry of two blocks."""
    return put(Store(tmp_path_factory.mktemp("store"), 2**30, Told()), key(), LARGE)


@given(bit=st.integers(0, LARGE.nbytes * 8 - 1))
@settings(max_examples=40)
def test_one_flipped_bit_anywhere_in_the_rows_is_noticed(entry: Path, bit: int) -> None:
    _flip(entry / "data.bin", bit)
    with pytest.raises(Damaged, match=f"block {bit // 8 // BLOCK} of data.bin"):
        check_entry(entry)
    _flip(entry / "data.bin", bit)
    check_entry(entry)


@given(data=st.data())
def test_one_flipped_bit_anywhere_in_the_record_changes_no_number(
    entry: Path, data: st.DataObject
) -> None:
    before = (entry / "meta.json").read_bytes()
    whole = check_entry(entry)
    _flip(entry / "meta.json", data.draw(st.integers(0, len(before) * 8 - 1)))
    try:
        assert check_entry(entry) == whole  # a blank that became another blank
    except Damaged:
        pass
    finally:
        (entry / "meta.json").write_bytes(before)


def _flip(file: Path, bit: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(bit // 8)
        (byte,) = stream.read(1)
        stream.seek(bit // 8)
        stream.write(bytes([byte ^ 1 << bit % 8]))


def _changed(**fields: Any) -> Callable[[Path], None]:
    """Changes the record as someone would who also mends its checksum."""

    def change(folder: Path) -> None:
        meta = json.loads((folder / "meta.json").read_text())
        meta.update(fields)
        del meta["checksum"]
        (folder / "meta.json").write_text(json.dumps({**meta, "checksum": checksum_of(meta)}))

    return change


def _with_data(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: _rewrite(folder / "data.bin", change)


def _with_meta(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: _rewrite(folder / "meta.json", change)


def _rewrite(file: Path, change: Callable[[bytes], bytes]) -> None:
    file.write_bytes(change(file.read_bytes()))


DAMAGE = {
    "a truncated file": _with_data(lambda content: content[:-1]),
    "an empty file": _with_data(lambda content: b""),
    "a longer file": _with_data(lambda content: content + b"x"),
    "a flipped bit": lambda folder: _flip(folder / "data.bin", 77),
    "no rows": lambda folder: (folder / "data.bin").unlink(),
    "no record": lambda folder: (folder / "meta.json").unlink(),
    "half a record": _with_meta(lambda content: content[: len(content) // 2]),
    "an empty record": _with_meta(lambda content: b""),
    "a record of bytes": _with_meta(lambda content: b"\xff\xfe" * 20),
    "a list": _with_meta(lambda content: b"[1, 2]"),
    "another mapping": _with_meta(lambda content: b'{"checksum": 0}'),
    "another shape": _changed(shape=[9, 4]),
    "a shape of text": _changed(shape="10 x 4"),
    "another dtype": _changed(dtype="float16"),
    "an unknown dtype": _changed(dtype="float33"),
    "another key": _changed(key=key("block4").fields),
    "another format": _changed(format=99),
    "too few checksums": _changed(checksums=[]),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_entry_is_dropped_with_a_message_and_made_again(
    store: Store, told: Told, damage: Callable[[Path], None]
) -> None:
    damage(put(store, key(), rows()))
    assert store.find(key()) is None
    (said,) = told
    assert said.startswith(f"stored activations {key().digest[:12]} were damaged (")
    assert said.endswith("): dropped")
    assert visible(store.folder) == hidden(store.folder) == []
    put(store, key(), rows())
    assert torch.equal(found(store, key()), rows())


def test_a_damaged_entry_is_written_anew_without_being_asked_for_first(store: Store) -> None:
    DAMAGE["a flipped bit"](put(store, key(), rows()))
    put(store, key(), rows())
    assert torch.equal(found(store, key()), rows())


def test_a_file_that_changes_after_it_was_found_whole_is_compared_again(store: Store) -> None:
    folder = put(store, key(), rows())
    assert store.find(key()) is not None
    DAMAGE["a flipped bit"](folder)
    assert store.find(key()) is None


def test_checking_one_entry_leaves_the_others(store: Store, told: Told) -> None:
    put(store, key("block1"), rows())
    DAMAGE["a flipped bit"](put(store, key("block2"), rows()))
    assert store.check(key("block1").digest) is not None
    assert store.check(key("block2").digest) is None
    assert store.check(key("block3").digest) is None
    assert visible(store.folder) == [key("block1").digest]
    assert len(told) == 1
