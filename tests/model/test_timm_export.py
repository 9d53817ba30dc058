"""An uncut model of timm goes back into timm: the same names, the same answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from folders import Made, probe, trained
from hydra import compose, initialize_config_dir
from safetensors import safe_open

import tlsweep
from tlsweep.config.read import read
from tlsweep.config.settings import Settings
from tlsweep.model import NotExported, export_model
from tlsweep.source.base import private_rng

CONF = (Path(__file__).parents[2] / "conf").resolve()
SMALL = {"resnet10t": 64, "vit_tiny_patch16_224": 32}
Ask = Callable[..., Settings]


@pytest.fixture
def ask(images: Path, tmp_path: Path) -> Ask:
    """Settings of a question about a small model of timm."""

    def make(model: str, *overrides: str, classes: int = 7) -> Settings:
        size = SMALL[model]
        given = {"img_size": size} if model.startswith("vit") else {}
        with private_rng(0):
            made = timm.create_model(model, num_classes=classes, **given)
        torch.save(made.state_dict(), tmp_path / "w.bin")
        common = [
            "source=timm", f"source.model={model}", f"source.checkpoint={tmp_path / 'w.bin'}",
            f"source.image_size={size}", "target=image_folder", f"target.root={images}",
            "train.epochs=1", f"features.cache_dir={tmp_path / 'features'}",
        ]  # fmt: skip
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return read(compose("config", overrides=[*common, *overrides]))

    return make


@pytest.mark.parametrize("classes", [7, 0])
@pytest.mark.parametrize(
    "model", ["resnet10t", pytest.param("vit_tiny_patch16_224", marks=pytest.mark.slow)]
)
def test_timm_reads_it_and_gives_the_models_logits(
    model: str, classes: int, ask: Ask, tmp_path: Path
) -> None:
    made: Made = trained(ask(model, "plan=finetune", classes=classes), tmp_path / "study")
    file = tmp_path / "timm.safetensors"
    off = export_model(tlsweep.load_model(made.folder), "timm", file)
    assert off <= 1e-5
    options = {"img_size": 32} if model.startswith("vit") else {}
    read_again = timm.create_model(model, num_classes=2, checkpoint_path=str(file), **options)
    with torch.no_grad():
        found = read_again.eval()(made.x)
    assert torch.allclose(found, made.logits, atol=1e-5 * max(1.0, float(made.logits.abs().max())))
    with safe_open(file, "pt") as opened:
        config = json.loads(opened.metadata()["timm"])
    assert config["label_names"] == ["bee=blue", "red ant"]
    assert (config["architecture"], config["num_classes"]) == (model, 2)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("plan=truncate", "plan.keep=2"), "this one is cut: plan.keep=all"),
        (("plan=feature_extractor", "train.head=mlp"), "train.head=mlp"),
    ],
)
def test_what_timm_cannot_hold_is_refused_with_the_reason(
    overrides: tuple[str, ...], words: str, ask: Ask, tmp_path: Path
) -> None:
    make = probe if "train.head=mlp" not in overrides else trained
    made: Made = make(ask("resnet10t", *overrides), tmp_path / "study")
    with pytest.raises(NotExported, match=words):
        export_model(tlsweep.load_model(made.folder), "timm", tmp_path / "timm.safetensors")
    assert not list(tmp_path.glob("*timm*"))


def test_a_model_of_another_source_is_refused(probe_folder: Made, tmp_path: Path) -> None:
    with pytest.raises(NotExported, match="source=torchvision; timm builds its own"):
        export_model(tlsweep.load_model(probe_folder.folder), "timm", tmp_path / "t.safetensors")
