"""A real source with random weights, a real target, and settings for both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from hydra import compose, initialize_config_dir

from tlsweep.config import Settings, read

CONF = (Path(__file__).parents[2] / "conf").resolve()
SETTINGS = Callable[..., Settings]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small convolutional network; nobody trained them."""
    file = tmp_path_factory.mktemp("weights") / "shufflenet.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict(), file)
    return file


@pytest.fixture
def settings(checkpoint: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a question about that source and scikit-learn's digits, at 32 pixels."""
    source = (
        "source=torchvision",
        "source.model=shufflenet_v2_x0_5",
        f"source.checkpoint={checkpoint}",
        "source.image_size=32",
        "target.fit_size=60",
        "train.epochs=2",
        f"features.cache_dir={tmp_path}",
        f"output_dir={tmp_path}",
    )

    def make(*overrides: str) -> Settings:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return read(compose("config", overrides=[*source, *overrides]))

    return make
