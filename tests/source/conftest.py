"""Weights of torchvision models, nobody trained them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tlsweep.source.base import private_rng
from tlsweep.source.zoo import build


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A file of random weights of a torchvision model, as torch.save writes them."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def make(model: str, n_classes: int = 5, seed: int = 0) -> Path:
        path = folder / f"{model}-{n_classes}-{seed}.pt"
        if not path.exists():
            with private_rng(seed):
                torch.save(build(model, n_classes, 224).state_dict(), path)
        return path

    return make
