"""A group that a test kills: ``python group_driver.py FOLDER``; its members wait."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlsweep.engine.group import run_in_group


def wait(folder: str, tell: Callable[[Any], None]) -> None:
    """Write which process this is, and wait for longer than any test does."""
    (Path(folder) / os.environ["RANK"]).write_text(str(os.getpid()))
    time.sleep(600)


if __name__ == "__main__":
    run_in_group(2, wait, sys.argv[1], on_message=print)
