"""Several processes share a store; one that is killed leaves it as it was."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from activations import Told, found, hidden, key, put, rows, visible

from tlsweep.features import Store

DRIVER = Path(__file__).parent / "features_driver.py"
CUTS = ("block1", "block2")
N = 100  # rows, ten forward passes
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(store: Store) -> Iterator[Start]:
    """Starts a driver on the store's folder."""
    started = []

    def begin(what: str, n: int = N) -> subprocess.Popen[str]:
        command = [sys.executable, str(DRIVER), what, str(store.folder), str(n)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, text=True, **pipes))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def calls(store: Store) -> int:
    """How many forward passes there were."""
    file = store.folder.parent / "CALLS"
    return len(file.read_text().splitlines()) if file.exists() else 0


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.005)


def line(process: subprocess.Popen[str]) -> str:
    """The next line that the process says."""
    assert process.stdout is not None
    return process.stdout.readline()


def ended(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def test_a_writer_that_is_killed_leaves_no_entry_and_the_next_one_succeeds(
    store: Store, start: Start
) -> None:
    writer = start("write")
    until(lambda: calls(store) >= 4)
    writer.kill()
    writer.wait()
    assert visible(store.folder) == []
    assert len(hidden(store.folder)) == 2
    assert [store.find(key(cut)) for cut in CUTS] == [None, None]

    before = calls(store)
    ended(start("write"))
    assert calls(store) - before == 10
    assert hidden(store.folder) == []
    assert torch.equal(found(store, key("block2")), rows(N) + 1)


def test_what_a_killed_writer_left_is_swept_by_a_writer_of_something_else(
    store: Store, start: Start
) -> None:
    writer = start("stall")
    assert line(writer) == "writing\n"
    put(store, key("block5"), rows())
    assert len(hidden(store.folder)) == 2  # it is at work
    writer.kill()
    writer.wait()
    put(store, key("block6"), rows())
    assert hidden(store.folder) == []


def test_two_processes_that_want_the_same_at_once_do_the_work_once(
    store: Store, start: Start
) -> None:
    for process in [start("write"), start("write")]:
        ended(process)
    assert calls(store) == 10
    assert visible(store.folder) == sorted(key(cut).digest for cut in CUTS)


def test_a_process_that_waits_for_another_says_so_and_takes_over_when_that_is_killed(
    store: Store, start: Start
) -> None:
    first = start("stall")
    assert line(first) == "writing\n"
    second = start("write")
    assert line(second) == "another process is storing these activations: waiting for it\n"
    first.kill()
    ended(second)
    assert calls(store) == 10
    assert torch.equal(found(store, key("block1")), rows(N))


def test_a_reader_that_is_killed_leaves_the_entry_whole(store: Store, start: Start) -> None:
    put(store, key(CUTS[0]), rows(N))
    reader = start("read")
    assert line(reader) == "reading\n"
    reader.kill()
    reader.wait()
    assert store.check(key(CUTS[0]).digest) is not None
    assert torch.equal(found(store, key(CUTS[0])), rows(N))


def test_what_another_process_reads_is_not_evicted_until_that_ends(
    store: Store, start: Start
) -> None:
    put(store, key(CUTS[0]), rows(N))
    reader = start("read")
    assert line(reader) == "reading\n"
    assert store.clear() == []
    assert not store.room(2**20).fits
    reader.kill()
    reader.wait()
    assert [entry.digest for entry in store.clear()] == [key(CUTS[0]).digest]


def test_an_entry_that_is_deleted_by_hand_stays_whole_for_its_readers(
    store: Store, told: Told
) -> None:
    folder = put(store, key(), rows())
    z = found(store, key())
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert torch.equal(z, rows())
    assert store.find(key()) is None
    assert told == []


def test_the_memory_of_writing_and_finding_grows_with_the_batch_not_with_the_rows(
    store: Store, start: Start
) -> None:
    peaks = []
    for n in (256, 2048):  # 16 MiB and 128 MiB
        process = start("peak", n)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        peaks.append(int(output))
        store.clear()
    assert abs(peaks[1] - peaks[0]) < 16 * 2**20
