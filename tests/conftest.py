"""Shared by all tests: a real source with random weights, a real target, and settings for both."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from outside_package import ALL, FOLDER, Outside
from warm import Warm

from tlsweep import registry

if TYPE_CHECKING:
    from tlsweep.config.settings import Settings
    from tlsweep.facts import Facts
    from tlsweep.study.ledger import Ledger

# before torch is imported: threads that spin starve each other when other processes compute
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

CONF = (Path(__file__).parents[1] / "conf").resolve()


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """``python ...`` in a new process, which has imported the libraries already."""
    with closing(Warm(tmp_path_factory.mktemp("said"))) as warm:
        yield warm


@pytest.fixture
def outside(tmp_path: Path, python: Warm) -> Outside:
    """Tlsweep where another package brings a source and a target, and text ones too."""
    return Outside(tmp_path, python)


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same package in this process."""
    monkeypatch.setattr(registry, "others", ALL.__getitem__)
    monkeypatch.syspath_prepend(FOLDER)


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


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small convolutional network; nobody trained them."""
    return _weights(tmp_path_factory.mktemp("weights") / "shufflenet.pt", "shufflenet_v2_x0_5")


@pytest.fixture(scope="session")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of another small network, alike."""
    return _weights(tmp_path_factory.mktemp("weights") / "squeezenet.pt", "squeezenet1_1")


def _weights(file: Path, model: str) -> Path:
    import torch
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(torchvision.models.get_model(model, weights=None).state_dict(), file)
    return file


@pytest.fixture
def lines(checkpoint: Path, tmp_path: Path) -> tuple[str, ...]:
    """Overrides that ask about that source and scikit-learn's digits, at 32 pixels."""
    return (
        "source=torchvision",
        "source.model=shufflenet_v2_x0_5",
        f"source.checkpoint={checkpoint}",
        "source.image_size=32",
        "source.preset=IMAGENET1K_V1",
        "target.fit_size=60",
        "train.epochs=2",
        f"features.cache_dir={tmp_path}",
        f"output_dir={tmp_path}",
    )


@pytest.fixture
def settings(lines: tuple[str, ...]) -> Callable[..., Settings]:
    """Settings of that question, with further overrides."""
    from hydra import compose, initialize_config_dir

    from tlsweep.config.read import read

    def make(*overrides: str) -> Settings:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return read(compose("config", overrides=[*lines, *overrides]))

    return make


@pytest.fixture
def main(tmp_path: Path) -> Ledger:
    """A sweep's main study, whose trials are run now."""
    from tlsweep.study.draws import Sampling
    from tlsweep.study.ledger import Ledger
    from tlsweep.study.post import AT
    from tlsweep.study.storage import default_url

    ledger = Ledger(default_url(tmp_path), "s", Sampling({"name": "random"}, 0)).open(resume=True)
    ledger.remember(AT, "s")
    return ledger


@pytest.fixture
def facts() -> Callable[..., Facts]:
    """What a trial notes of a plan of a source with 8 blocks: block k is kept from 1,000 * k.

    shape: a letter a block in place of cut points: frozen, adapted, tuned, N for fresh, dropped.
    """
    from dataclasses import replace

    from tlsweep.facts import Facts
    from tlsweep.plan import TransferPlan, monotone
    from tlsweep.terms import BlockState

    names = tuple(f"block{i}" for i in range(9))
    letters = dict(zip("FATND", BlockState, strict=True))

    def make(name: str = "truncate", *, keep: int = 0, freeze: int | None = None,
             regrow: int | None = None, random: bool = False, shape: str = "", rank: int = 8,
             **own: Any) -> Facts:  # fmt: skip
        freeze, regrow = keep if freeze is None else freeze, keep if regrow is None else regrow
        plan = monotone(freeze, keep, regrow, 8, random)
        if shape:
            plan = TransferPlan(tuple(letters[letter] for letter in shape), random, rank)
        made = Facts(
            name, plan, names, "net", kept_parameters=0 if random else 1000 * plan.keep,
            trained_parameters=1000 * len(plan.trained) + 100, flops=10_000 * plan.regrow,
            lr=3e-3, lr_ratio=0.1, head="linear", probe_penalty=None if plan.trained else 0.1,
            augmentation="none", seed=0, fold=0,
        )  # fmt: skip
        return replace(made, **own)

    return make
