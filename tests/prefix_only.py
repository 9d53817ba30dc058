"""A question about a network with cut points that are good for their prefix only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from outside_package import FOLDER, ROOT

from tlsweep.config.read import read
from tlsweep.config.settings import Settings
from tlsweep.terms import NAMED_CODE

BUILD = "conditioned_network:build"
NAMES = ("input", "layers.0", "layers.1", "layers.2", "last", "pooled")


class Asked:
    """Settings of that question, with further overrides. folder: for its weights and features."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        patch.syspath_prepend(FOLDER)
        patch.setenv(NAMED_CODE, BUILD)
        from conditioned_network import build

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            torch.save(build().state_dict(), folder / "weights.pt")
        self.lines = (
            "source=module",
            f"source.build={BUILD}",
            f"source.checkpoint={folder / 'weights.pt'}",
            "source.image_size=16",
            "target.fit_size=60",
            "train.epochs=2",
            f"features.cache_dir={folder}",
            f"output_dir={folder}",
        )

    def __call__(self, *overrides: str) -> Settings:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return read(compose("config", overrides=[*self.lines, *overrides]))
