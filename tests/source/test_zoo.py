"""Torchvision's models are opened with weights that fit, or refused with what to write instead."""

from __future__ import annotations

import os
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision

from tlsweep.errors import Refusal
from tlsweep.source import check_source, open_source
from tlsweep.source.base import private_rng
from tlsweep.source.zoo import ZooSource


def faults(**options: object) -> list[tuple[str, str, str]]:
    with pytest.raises(Refusal) as caught:
        check_source("torchvision", **options)
    return [(fault.value, fault.rule, fault.mend) for fault in caught.value.faults]


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    ((value, rule, mend),) = faults(model="resnet-18", weights="DEFAULT")
    assert value == "source.model=resnet-18"
    assert "squeezenet1_0" in rule
    assert mend == "source.model=resnet18"


def test_a_source_without_weights_is_refused() -> None:
    ((_, rule, mend),) = faults(model="resnet18")
    assert rule == "a source needs weights: source.weights=DEFAULT or source.checkpoint=FILE"
    assert mend == "source.weights=DEFAULT"


def test_unknown_weights_are_refused_with_those_of_the_model() -> None:
    ((_, rule, mend),) = faults(model="resnet50", weights="IMAGENET1K_V3")
    assert "DEFAULT, IMAGENET1K_V1, IMAGENET1K_V2" in rule
    assert mend.startswith("source.weights=IMAGENET1K_V")


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    found = faults(model="alexnet", weights="DEFALT", checkpoint=tmp_path / "absent.pt")
    assert [value.split("=")[0] for value, _, _ in found] == ["source.weights", "source.checkpoint"]


@pytest.mark.parametrize(("model", "size"), [("alexnet", 16), ("vit_b_16", 128), ("resnet18", 0)])
def test_a_size_that_the_model_cannot_take_is_refused(model: str, size: int) -> None:
    ((value, _, mend),) = faults(model=model, weights="DEFAULT", image_size=size)
    assert value == f"source.image_size={size}"
    assert mend.startswith("source.image_size=224")


@pytest.mark.parametrize(
    ("model", "size"), [("resnet18", 64), ("vit_h_14", 518), ("regnet_y_400mf", 96)]
)
def test_a_size_that_the_model_takes_passes(model: str, size: int) -> None:
    check_source("torchvision", model=model, weights="DEFAULT", image_size=size)


@pytest.mark.parametrize(
    "model", ["resnet18", "densenet121", "googlenet", "mnasnet0_5", "regnet_y_400mf", "swin_t"]
)
def test_a_checkpoint_gives_the_outputs_of_the_model_that_it_was_saved_from(
    tmp_path: Path, model: str
) -> None:
    # Built without tlsweep, and with what training it does to its statistics.
    options = {"init_weights": True, "transform_input": True} if model == "googlenet" else {}
    with private_rng(0):
        saved = torchvision.models.get_model(model, weights=None, num_classes=4, **options)
        for buffer in saved.buffers():
            if buffer.is_floating_point():
                buffer.add_(torch.rand_like(buffer))
        x_bchw = torch.randn(2, 3, 64, 64)
    torch.save(saved.state_dict(), tmp_path / "w.pt")
    source = open_source("torchvision", model=model, checkpoint=tmp_path / "w.pt", image_size=64)
    with torch.no_grad():
        assert torch.equal(source.model()(x_bchw), saved.eval()(x_bchw))


@pytest.mark.parametrize("n_classes", [2, 7, 1000])
@pytest.mark.parametrize("model", ["squeezenet1_1", "mobilenet_v3_small"])
def test_the_number_of_classes_is_read_from_the_checkpoint(
    checkpoint: Callable[..., Path], model: str, n_classes: int
) -> None:
    file = checkpoint(model, n_classes)
    source = open_source("torchvision", model=model, checkpoint=file, image_size=64)
    assert isinstance(source, ZooSource)
    assert source.n_classes == n_classes
    assert source.trained_on == f"checkpoint {file.name}"


def test_the_older_names_of_densenets_are_understood(
    tmp_path: Path, checkpoint: Callable[..., Path]
) -> None:
    weights = torch.load(checkpoint("densenet121"), weights_only=True)
    old = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value
        for key, value in weights.items()
    }
    assert old.keys() != weights.keys()
    torch.save(old, tmp_path / "old.pt")
    source = open_source("torchvision", model="densenet121", checkpoint=tmp_path / "old.pt")
    plain = open_source("torchvision", model="densenet121", checkpoint=checkpoint("densenet121"))
    assert source.fingerprint == plain.fingerprint


def test_weights_of_another_architecture_are_refused(checkpoint: Callable[..., Path]) -> None:
    file = checkpoint("squeezenet1_1")
    with pytest.raises(Refusal, match="looks like another architecture"):
        open_source("torchvision", model="resnet18", checkpoint=file)


def test_weights_without_a_classifier_are_a_source(
    tmp_path: Path, checkpoint: Callable[..., Path]
) -> None:
    weights = torch.load(checkpoint("resnet18"), weights_only=True)
    trunk = {k: v for k, v in weights.items() if not k.startswith("fc.")}
    torch.save({"state_dict": {f"encoder.{k}": v for k, v in trunk.items()}}, tmp_path / "w.pt")
    source = open_source("torchvision", model="resnet18", checkpoint=tmp_path / "w.pt")
    loaded = source.model().state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in trunk.items())


def test_the_preprocessing_is_that_of_the_weights(checkpoint: Callable[..., Path]) -> None:
    image = open_source(
        "torchvision", model="squeezenet1_1", checkpoint=checkpoint("squeezenet1_1")
    ).spec
    assert (image.size, image.resize, image.channels) == (224, 256, 3)
    assert image.mean == (0.485, 0.456, 0.406)
    assert image.std == (0.229, 0.224, 0.225)


def test_another_size_scales_the_resize_with_it(checkpoint: Callable[..., Path]) -> None:
    image = open_source(
        "torchvision",
        model="squeezenet1_1",
        checkpoint=checkpoint("squeezenet1_1"),
        image_size=112,
    ).spec
    assert (image.size, image.resize) == (112, 128)


def test_published_weights_are_read_from_the_hub_folder_if_they_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Callable[..., Path]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    name = Path(torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url).name
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(checkpoint("squeezenet1_1", 1000).read_bytes())
    source = open_source("torchvision", model="squeezenet1_1", weights="DEFAULT")
    assert source.trained_on == "ImageNet-1k (published weights DEFAULT)"


def test_a_download_that_is_not_possible_names_the_file_the_folder_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:  # bound, not listening: every connection to it is refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers older proxies
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        with pytest.raises(Refusal) as caught:
            open_source("torchvision", model="resnet18", weights="DEFAULT")
    (fault,) = caught.value.faults
    assert "resnet18-f37072fd.pth" in fault.mend
    assert str(tmp_path / "hub" / "checkpoints") in fault.mend
    assert "source.checkpoint=FILE" in fault.mend
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []


@pytest.mark.real
@pytest.mark.parametrize(
    ("model", "file", "n_classes"),
    [
        ("mobilenet_v2", "mobilenet_v2_imagenet.pt", 1000),
        ("mobilenet_v2", "mobilenet_v2_inat_bird.pt", 965),
        ("squeezenet1_0", "squeezenet1_0_imagenet.pt", 1000),
    ],
)
def test_real_weights_load_into_their_models(model: str, file: str, n_classes: int) -> None:
    default = Path(__file__).parents[2] / ".." / "shared" / "data"
    path = Path(os.environ.get("TLSWEEP_REAL_DATA", default)) / "weights" / file
    if not path.is_file():
        pytest.skip(f"no real weights at {path} (TLSWEEP_REAL_DATA)")
    source = open_source("torchvision", model=model, checkpoint=path, image_size=96)
    assert isinstance(source, ZooSource)
    assert source.n_classes == n_classes
    loaded = source.model().state_dict()
    weights = torch.load(path, weights_only=True)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[key], weights[key]) for key in weights)
