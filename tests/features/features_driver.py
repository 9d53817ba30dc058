"""A process that a test may kill: ``python features_driver.py MODE FOLDER ROWS``.

write: stores ROWS rows at two cut points in batches of 10, slowly, adding a line to FOLDER/../CALLS
for each forward pass. stall: begins that, says so, and stops. read: finds what was written, says
so, and reads until it is killed. peak: writes rows of 64 kB as fast as it can, finds them, and says
how large its memory was at most, in bytes.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import torch
from activations import key, rows, spec_of

from tlsweep.features import Spec, Store

CUTS = ("block1", "block2")
BATCH = 10


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the test reads it


def write(folder: Path, n: int) -> None:
    store, z = Store(folder, 2**30, say), rows(n)
    with store.writing([spec_of(key(cut), z) for cut in CUTS]) as writers:
        for batch in torch.split(z, BATCH) if writers else ():
            with (folder.parent / "CALLS").open("a") as stream:
                stream.write("forward\n")
            time.sleep(0.05)
            for number, cut in enumerate(CUTS):
                writers[key(cut)].append(batch + number)
    for number, cut in enumerate(CUTS):
        stored = store.find(key(cut))
        assert stored is not None
        assert torch.equal(stored.tensor(), z + number)


def stall(folder: Path, n: int) -> None:
    z = rows(n)
    with Store(folder, 2**30, say).writing([spec_of(key(cut), z) for cut in CUTS]) as writers:
        writers[key(CUTS[0])].append(z[:BATCH])
        say("writing")
        time.sleep(600)


def read(folder: Path, n: int) -> None:
    stored = Store(folder, 2**30, say).find(key(CUTS[0]))
    assert stored is not None
    z = stored.tensor()
    del stored
    say("reading")
    while torch.equal(z, rows(n)):
        time.sleep(0.01)


def peak(folder: Path, n: int) -> None:
    store, batch = Store(folder, 2**40, say), torch.ones(16, 2**14)
    with store.writing([Spec(key(), (n, 2**14), torch.float32)]) as writers:
        for _ in range(n // 16):
            writers[key()].append(batch)
    assert store.find(key()) is not None
    say(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


if __name__ == "__main__":
    modes = {"write": write, "stall": stall, "read": read, "peak": peak}
    modes[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
