"""Models of timm: their own preprocessing, their classifier or its lack, checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch import nn

from tlsweep.errors import Refusal
from tlsweep.source import carry_files, dissect, open_architecture, open_source
from tlsweep.source.base import private_rng
from tlsweep.source.timm_zoo import TimmSource, class_names, spec_of
from tlsweep.target.dataset import normalise
from tlsweep.target.decode import fit_image

SMALL = "mobilenetv3_small_050"


def one_of_each_preset() -> Iterator[str]:
    """Models whose preprocessing differs in size, crop, mode or interpolation; at most 400 px."""
    seen = set()
    for name in timm.list_models():
        config = timm.get_pretrained_cfg(name)
        if config is None or config.input_size[0] != 3 or config.crop_mode == "border":
            continue
        if config.input_size[1] != config.input_size[2] or config.input_size[1] > 400:
            continue
        preset = config.input_size, config.crop_pct, config.crop_mode, config.interpolation
        if preset not in seen:
            seen.add(preset)
            yield name


@pytest.mark.parametrize("name", list(one_of_each_preset()))
def test_a_photo_becomes_the_tensor_that_timm_makes(name: str) -> None:
    config = resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    theirs, spec = create_transform(**config, is_training=False), spec_of(name)
    rng = np.random.default_rng(0)
    for width, height in ((333, 251), (97, 301)):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        ours = normalise(torch.tensor(fit_image(image, spec))[None], spec)[0]
        assert torch.equal(ours, theirs(image))


@pytest.mark.slow
@pytest.mark.parametrize("n_classes", [0, 7])
def test_a_checkpoint_with_any_classifier_or_none_gives_the_outputs_of_its_model(
    tmp_path: Path, n_classes: int
) -> None:
    with private_rng(0):
        saved = timm.create_model(SMALL, num_classes=n_classes).eval()
        x_bchw = torch.randn(2, 3, 64, 64)
    weights = {f"backbone.{name}": value for name, value in saved.state_dict().items()}
    torch.save({"state_dict": weights}, tmp_path / "w.ckpt")
    options = {"model": SMALL, "checkpoint": tmp_path / "w.ckpt", "image_size": 64}
    source = open_source("timm", **options)
    assert isinstance(source, TimmSource)
    assert source.n_classes == n_classes
    with torch.no_grad():
        assert torch.equal(source.model()(x_bchw), saved(x_bchw))
    cuts = dissect("timm", *open_architecture("timm", **options))
    assert cuts.names == dissect("timm", source.model(), source.example()).names
    assert cuts[-1].shape == (1024,)


def test_models_with_two_classifiers_are_cut_below_both() -> None:
    cuts = dissect("timm", *open_architecture("timm", model="deit_tiny_distilled_patch16_224"))
    assert cuts[-1].all_names == ("blocks.11", "blocks", "all")
    assert cuts[-1].tokens == (0, 1)  # what the two classifiers look at


@pytest.mark.parametrize(
    ("options", "value", "mend"),
    [
        ({"model": "resnet81"}, "source.model=resnet81", "source.model=resnet18"),
        ({"model": "resnet18.a9"}, "source.model=resnet18.a9", "source.model=resnet18.a"),
        ({"model": "resnet18", "checkpoint": "no.pt"}, "source.checkpoint=no.pt", "FILE"),
        ({"model": "levit_128s", "image_size": 8}, "source.image_size=8", "source.image_size=224"),
    ],
)
def test_what_cannot_be_opened_is_refused(
    options: dict[str, object], value: str, mend: str
) -> None:
    with pytest.raises(Refusal) as refused:
        open_source("timm", **options)
    (fault,) = refused.value.faults
    assert fault.value == value
    assert mend in fault.mend


def test_weights_that_cannot_be_had_are_refused_with_where_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(Refusal, match="no weights") as refused:
        open_source("timm", model="resnet18.a1_in1k")
    (fault,) = refused.value.faults
    assert fault.rule.endswith("can be downloaded from timm/resnet18.a1_in1k")
    assert "source.checkpoint=FILE" in fault.mend


# ---------------------------------------------------------------------- folders and the hub
@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """A small model of three classes, saved as the hub has it; and the model."""
    folder = tmp_path_factory.mktemp("models") / "birds"
    told = {"model_args": {"act_layer": "relu"}, "label_names": ["crow", "owl", "wren"]}
    with private_rng(0):
        model = timm.create_model(SMALL, num_classes=3, **told["model_args"]).eval()
    timm.models.save_for_hf(model, folder, safe_serialization=True, model_config=told)
    return folder, model


@pytest.fixture
def hub(saved: tuple[Path, nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A hub's cache that has the model, and no network; the name of the model there."""
    there, commit = tmp_path / "models--me--birds", "0" * 40
    shutil.copytree(saved[0], there / "snapshots" / commit)
    (there / "refs").mkdir()
    (there / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return "hf-hub:me/birds"


def is_the_saved_one(model: str, saved: nn.Module) -> TimmSource:
    source = open_source("timm", model=model, image_size=64)
    assert isinstance(source, TimmSource)
    x_bchw = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(source.model()(x_bchw), saved(x_bchw))
    assert source.n_classes == 3
    assert source.class_names == ("crow", "owl", "wren")
    names = dissect("timm", *open_architecture("timm", model=model, image_size=64)).names
    assert names == dissect("timm", source.model(), source.example()).names
    return source


def test_a_folder_as_the_hub_has_it_is_a_source(saved: tuple[Path, nn.Module]) -> None:
    folder, model = saved
    source = is_the_saved_one(f"local-dir:{folder}", model)
    assert (source.name, source.trained_on) == ("birds", "weights in the folder birds")


def test_a_model_in_the_hubs_cache_is_a_source_without_a_network(
    hub: str, saved: tuple[Path, nn.Module]
) -> None:
    assert is_the_saved_one(hub, saved[1]).name == hub


@pytest.mark.parametrize("where", ["hub", "folder"])
def test_what_is_carried_builds_the_same_architecture(
    where: str, hub: str, saved: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    folder = tmp_path / "carried"
    folder.mkdir()
    model = hub if where == "hub" else f"local-dir:{saved[0]}"
    assert carry_files("timm", folder, model=model) == {"model": "local-dir:."}
    assert [file.name for file in folder.iterdir()] == ["config.json"]
    built = open_architecture("timm", model=f"local-dir:{folder}")[0]
    assert str(built) == str(saved[1])
    assert carry_files("timm", folder, model=SMALL) == {}


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        (None, "has a config.json"),
        ("{", "has a config.json"),
        ('{"model_type": "bert"}', "has a config.json, with its architecture"),
        ('{"architecture": "resnet81", "pretrained_cfg": {}}', "names, not resnet81"),
        ('{"architecture": "resnet18", "pretrained_cfg": {}}', "holds its weights"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(
    written: str | None, rule: str, tmp_path: Path
) -> None:
    if written is not None:
        (tmp_path / "config.json").write_text(written)
    with pytest.raises(Refusal, match=rule):
        open_source("timm", model=f"local-dir:{tmp_path}")


def test_a_model_that_the_hub_cannot_give_is_refused_with_what_to_download(hub: str) -> None:
    with pytest.raises(Refusal) as refused:
        open_source("timm", model="hf-hub:me/fish")
    (fault,) = refused.value.faults
    assert fault.value.startswith("source.model=hf-hub:me/fish (")
    assert "model.safetensors from https://huggingface.co/me/fish into a folder" in fault.mend
    assert "source.model=local-dir:FOLDER" in fault.mend


@pytest.mark.parametrize(
    ("name", "n_classes", "first"),
    [(f"{SMALL}.lamb_in1k", 1000, ("tench", "goldfish")), (SMALL, 7, ()), (SMALL, 0, ())],
)
def test_classes_are_called_as_timm_knows_them_by_the_first_of_their_names(
    name: str, n_classes: int, first: tuple[str, ...]
) -> None:
    found = class_names(name, n_classes)
    assert found[:2] == first
    assert len(found) == (n_classes if first else 0)
