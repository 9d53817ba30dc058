"""One folder of each kind for all tests that only read it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from folders import Made, Make, photographs, probe, trained
from hydra import compose, initialize_config_dir

from tlsweep.config.read import read

CONF = (Path(__file__).parents[2] / "conf").resolve()


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, one sub-folder a class."""
    return photographs(tmp_path_factory.mktemp("target") / "images")


@pytest.fixture(scope="session")
def asked(checkpoint: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Settings of a question about that folder, or another target."""
    common = (
        "source=torchvision",
        "source.model=shufflenet_v2_x0_5",
        f"source.checkpoint={checkpoint}",
        "source.image_size=32",
        "train.epochs=1",
        f"features.cache_dir={tmp_path_factory.mktemp('features')}",
    )

    def make(*overrides: str):  # type: ignore[no-untyped-def]
        digits = any(o.startswith("target=") for o in overrides)
        target = () if digits else ("target=image_folder", f"target.root={images}")
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return read(compose("config", overrides=[*common, *target, *overrides]))

    return make


@pytest.fixture(scope="session")
def tuned_folder(asked: Make, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The last blocks of the source trained."""
    return trained(asked("plan=last_layers", "plan.freeze=3"), tmp_path_factory.mktemp("tuned"))


@pytest.fixture(scope="session")
def probe_folder(asked: Make, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Four frozen blocks and a probe."""
    return probe(asked("plan=truncate", "plan.keep=4"), tmp_path_factory.mktemp("probe"))


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of a process that starts in another folder."""
    return {**os.environ, "PYTHONPATH": str(CONF.parent)}
