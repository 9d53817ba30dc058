"""A trap for each test, which is seen to work."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from payload import Trap


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    """Nothing that is laid with it is run by the end of the test."""
    made = Trap(tmp_path)
    pickle.loads(made.pickled())
    assert made.sprung  # it would have been
    made.marker.unlink()
    yield made
    assert not made.sprung
