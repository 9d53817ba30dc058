"""Data for the tests of training."""

from __future__ import annotations

import pytest
import torch
from conftest_train import Pairs


@pytest.fixture
def images() -> Pairs:
    """40 images 8 x 8 whose class can be learned: it is the brightest third."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, 1, 8, 8, generator=generator)
    y = torch.arange(40) % 3
    for i, label in enumerate(y.tolist()):
        x[i, 0, 2 * label : 2 * label + 3] += 1.0
    return Pairs(x, y)
