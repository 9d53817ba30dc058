"""Models of timm: their own preprocessing, their classifier or its lack, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from tlsweep.errors import Refusal
from tlsweep.source import dissect, open_architecture, open_source
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
