"""Sources that are quick to make: a glyph network of four steps, small torchvision models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tlsweep.source import Source, held, open_source
from tlsweep.source.base import private_rng
from tlsweep.source.glyph_pretraining import Recipe
from tlsweep.source.zoo import build
from tlsweep.terms import ImageSpec


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


@pytest.fixture(
    scope="session", params=["glyphs", "resnet18", "squeezenet1_1", "googlenet", "held"]
)
def make_source(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    checkpoint: Callable[..., Path],
) -> Callable[[int], Source]:
    """Opens a source whose weights depend on the number given."""
    folder = tmp_path_factory.mktemp("cache")

    def make(number: int) -> Source:
        if request.param == "glyphs":
            recipe = Recipe(steps=4, batch_size=8, holdout=16, seed=number)
            return open_source("glyphs", cache_dir=folder, recipe=recipe)
        if request.param == "held":
            with private_rng(number):
                key = held.hold(
                    build("resnet18", 5, 64), ImageSpec(3, 64, (0.5,) * 3, (0.2,) * 3, 64)
                )
            return open_source("held", key=key)
        file = checkpoint(request.param, seed=number)
        return open_source("torchvision", model=request.param, checkpoint=file, image_size=64)

    return make


@pytest.fixture(scope="session")
def source(make_source: Callable[[int], Source]) -> Source:
    return make_source(0)
