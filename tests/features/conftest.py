"""Stores in a folder of the test's own, and disks that are full or cannot be written to."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
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
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tlsweep-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def make_read_only(small_disk: Path) -> Callable[[], None]:
    """Makes the small disk one that cannot be written to, for root either."""
    command = ["mount", "-o", "remount,ro", str(small_disk)]
    return lambda: subprocess.run(command, check=True) and None
