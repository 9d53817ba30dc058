"""Stores in a folder of the test's own, and disks that are full or cannot be written to."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from activations import Told
from hypothesis import settings

from tlsweep.features import Store

# the machine may be a busy one
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def told() -> Told:
    """What the store said."""
    return Told()


@pytest.fixture
def store(tmp_path: Path, told: Told) -> Store:
    """A store with room for a megabyte, and nothing in it."""
    return Store(tmp_path / "features", 2**20, told)


@pytest.fixture
def make_read_only(small_disk: Path) -> Callable[[], None]:
    """Makes the small disk one that cannot be written to, for root either."""
    command = ["mount", "-o", "remount,ro", str(small_disk)]
    return lambda: subprocess.run(command, check=True) and None
