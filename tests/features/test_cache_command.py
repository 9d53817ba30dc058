"""``python -m tlsweep cache`` shows what is stored, checks it, and takes it away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from activations import key, put, rows, visible

from tlsweep import screen
from tlsweep.commands import cache as command
from tlsweep.errors import Fault, Refusal
from tlsweep.features import Spec, Store

CONF = (Path(__file__).parents[2] / "conf").resolve()
Command = Callable[..., str]


@pytest.fixture
def cache(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """The command on the store's folder; returns what it printed."""
    monkeypatch.setattr(screen.console, "_width", 140)

    def run(*arguments: str) -> str:
        command.run([*arguments, f"features.cache_dir={store.folder.parent}"], CONF)
        return capsys.readouterr().out

    return run


@pytest.fixture
def two(store: Store) -> Store:
    """A store with two entries, the second one used last."""
    folder = put(store, key("block1"), rows(50))
    os.utime(folder / "meta.json", (1e9, 1e9))
    about = {"source": "glyphs", "target": "digits", "split": "fit"}
    with store.writing([Spec(key("block2"), (2000, 4), torch.float32, about)]) as writers:
        writers[key("block2")].append(rows(2000))
    return store


def as_json(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def test_entries_are_listed_with_the_last_used_first_and_their_sum(
    cache: Command, two: Store
) -> None:
    lines = cache().splitlines()
    assert lines[0].strip() == "stored activations"
    later, earlier = (line for line in lines if line.startswith("│"))
    for text in ("glyphs", "block2", "digits", "2,000 fit", "31.2 kB"):
        assert text in later
    for text in ("5f1d", "block1", "77aa", "50", "2001-09-09"):
        assert text in earlier
    assert lines[-2].startswith("2 entries, 3")
    assert lines[-2].endswith("; features.budget_gb allows 10.0 GB")
    assert lines[-1] == f"folder {two.folder}"


def test_decoded_images_are_counted_beside_them_and_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TLSWEEP_CACHE", str(tmp_path))
    monkeypatch.setattr(screen.console, "_width", 140)

    def cache(*arguments: str) -> str:
        command.run(arguments, CONF)
        return capsys.readouterr().out

    folder = tmp_path / "decoded"
    assert "decoded images" not in cache()
    folder.mkdir()
    (folder / "a.npy").write_bytes(bytes(2048))
    (folder / ".b.part").write_bytes(bytes(1024))  # another process is at it
    lines = cache().splitlines()
    said = "2 files of decoded images, 3.0 kB; target.disk_gb limits them"
    assert lines[-2:] == [said, f"folder {folder}"]
    told = as_json(cache("format=json"))["decoded"]
    assert told == {"folder": str(folder), "files": 2, "bytes": 3072}
    command.run(["action=clear", f"features.cache_dir={tmp_path / 'other'}"], CONF)
    assert "decoded images" not in capsys.readouterr().out
    assert (folder / "a.npy").exists()
    assert "1 file of decoded images, 1.0 kB" in cache("action=clear")
    assert [file.name for file in folder.iterdir()] == [".b.part"]


def test_entries_are_listed_as_json(cache: Command, two: Store) -> None:
    found = as_json(cache("format=json", "features.budget_gb=1"))
    assert found["folder"] == str(two.folder)
    assert found["budget_bytes"] == 2**30
    assert found["bytes"] == sum(entry["bytes"] for entry in found["entries"])
    first = found["entries"][0]
    assert first["key"] == key("block2").fields
    assert (first["shape"], first["dtype"]) == ([2000, 4], "float32")


def test_a_cache_that_was_never_used_is_an_empty_list(cache: Command, store: Store) -> None:
    assert "0 entries, 0.0 kB" in cache()
    assert as_json(cache("format=json", "action=clear"))["evicted"] == []
    assert not store.folder.exists()


def test_a_broken_record_is_listed_as_damaged(cache: Command, two: Store) -> None:
    (two.folder / key("block1").digest / "meta.json").write_text("{")
    assert "damaged" in cache()
    assert as_json(cache("format=json"))["entries"][0]["damaged"]


def test_verify_drops_what_is_damaged_and_says_so(cache: Command, two: Store) -> None:
    file = two.folder / key("block1").digest / "data.bin"
    file.write_bytes(bytes(file.stat().st_size))
    said = cache("action=verify")
    assert f"{key('block1').digest[:12]} were damaged (block 0 of data.bin is not" in said
    assert "1 entry whole, 1 damaged" in said
    assert visible(two.folder) == [key("block2").digest]
    assert as_json(cache("action=verify", "format=json"))["damaged"] == []


def test_prune_leaves_as_much_as_is_allowed(cache: Command, two: Store) -> None:
    assert "0 entries evicted" in cache("action=prune")
    said = cache("action=prune", f"budget_gb={32 / 2**20}")
    assert "1 entry evicted; what is in use stays" in said
    assert visible(two.folder) == [key("block2").digest]


def test_clear_leaves_what_is_in_use(cache: Command, two: Store) -> None:
    held = two.find(key("block1"))
    assert as_json(cache("action=clear", "format=json"))["evicted"] == [key("block2").digest]
    del held
    assert "1 entry evicted" in cache("action=clear")
    assert visible(two.folder) == []


REFUSED = [
    (
        ["action=clean"],
        Fault("action=clean", "an action is one of: list, verify, prune, clear", "action=clear"),
    ),
    (
        ["format=jsn"],
        Fault("format=jsn", "a format is one of: table, json", "format=json"),
    ),
    (
        ["budget_gb=3"],
        Fault(
            "budget_gb=3 with action=list",
            "budget_gb says how much action=prune leaves",
            "action=prune budget_gb=3",
        ),
    ),
    (
        ["action=prune", "budget_gb=-1"],
        Fault(
            "features.budget_gb=-1",
            "the value is greater than or equal to 0",
            "features.budget_gb=0",
        ),
    ),
    (
        ["actoin=prune"],
        Fault(
            "unknown key actoin",
            "a key is one of: action, format, budget_gb, features.budget_gb, features.cache_dir",
            "action=VALUE",
        ),
    ),
]


@pytest.mark.parametrize(("arguments", "fault"), REFUSED, ids=[r[0][-1] for r in REFUSED])
def test_what_cannot_be_meant_is_refused(arguments: list[str], fault: Fault) -> None:
    with pytest.raises(Refusal) as caught:
        command.run(arguments, CONF)
    assert caught.value.faults == (fault,)


def test_faults_are_listed_together() -> None:
    with pytest.raises(Refusal) as caught:
        command.run(["action=clean", "format=xml", "foo"], CONF)
    assert len(caught.value.faults) == 3


def test_a_folder_that_cannot_be_changed_is_refused(
    small_disk: Path, make_read_only: Callable[[], None]
) -> None:
    store = Store(small_disk / "features", 2**30, print)
    put(store, key(), rows())
    make_read_only()
    with pytest.raises(Refusal, match="folder of stored activations can be read"):
        command.run(["action=clear", f"features.cache_dir={small_disk}"], CONF)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["cache"], 0, "0 entries"),
        (["cache", "action=clean"], 2, "mend: action=clear"),
        (["cahe"], 2, "mend: python -m tlsweep cache"),
        (["--help"], 0, "python -m tlsweep cache"),
    ],
)
def test_the_command_line_knows_it(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tlsweep", *arguments],
        env={**os.environ, "TLSWEEP_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert said in done.stdout + done.stderr
