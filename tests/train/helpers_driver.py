"""Helpers that a test kills: ``python helpers_driver.py FOLDER [MARK]``; they wait, or end."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import torch

from tlsweep.engine.helpers import Helpers


def wait(folder: str) -> None:
    """Write which process this is, and how it was begun; wait for longer than any test does."""
    mark = os.environ.get("TLSWEEP_MARK", "")
    text = f"{torch.get_num_threads()} {mark} {Path.cwd()}"
    (Path(folder) / str(os.getpid())).write_text(text)
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        (Path(folder) / f"{os.getpid()} gave back").touch()
        raise


def end(folder: str) -> None:
    """End at once, as something that cannot work here does."""
    os._exit(3)


def main(folder: str) -> None:
    """Have two helpers until a line is read."""
    with contextlib.closing(Helpers(2, 3, wait, folder)) as helpers:
        while not (Path(folder) / "stop").exists():
            helpers.tend()
            time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1])
