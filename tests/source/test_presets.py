"""What a network is given of an image is what torchvision gives it, for all published weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import models
from torchvision.models import WeightsEnum, get_model_weights, list_models
from torchvision.transforms import functional

from tlsweep.errors import Refusal
from tlsweep.source import zoo
from tlsweep.target.dataset import normalise
from tlsweep.target.decode import fit_image
from tlsweep.target.pixels import fit_arrays
from tlsweep.terms import ImageSpec

MODELS = list_models(module=models)
SIZES = [(500, 375), (375, 499), (333, 251), (640, 427), (97, 301), (224, 224)]


def published(name: str) -> list[WeightsEnum]:
    return list(get_model_weights(name))


def drawn(width: int, height: int) -> Image.Image:
    """Noise with edges, of which every way to resize makes other numbers."""
    rng = np.random.default_rng(width)
    blocks = rng.integers(0, 256, (height // 7 + 1, width // 7 + 1, 3), dtype=np.uint8)
    pixels = np.kron(blocks, np.ones((7, 7, 1), dtype=np.uint8))[:height, :width]
    return Image.fromarray(pixels ^ rng.integers(0, 16, pixels.shape, dtype=np.uint8))


def every_preset() -> list[tuple[str, str]]:
    """One model and name of weights for each preset; models share most of them."""
    found: dict[ImageSpec, tuple[str, str]] = {}
    for model in MODELS:
        for weights in published(model):
            found.setdefault(zoo.spec_of(model, weights.name), (model, weights.name))
    return list(found.values())


def test_all_published_weights_have_the_numbers_of_their_preset() -> None:
    count = 0
    for model in MODELS:
        for weights in published(model):
            theirs, ours = weights.transforms(), zoo.spec_of(model, weights.name)
            assert ours.interpolation == theirs.interpolation.value
            assert [ours.resize] == theirs.resize_size
            assert [ours.size] == theirs.crop_size
            assert (list(ours.mean), list(ours.std)) == (theirs.mean, theirs.std)
            count += 1
    assert count >= 115


@pytest.mark.parametrize(("model", "name"), every_preset())
def test_a_photo_becomes_the_tensor_that_torchvision_makes_bit_for_bit(
    model: str, name: str
) -> None:
    transforms, spec = get_model_weights(model)[name].transforms(), zoo.spec_of(model, name)
    for size in SIZES:
        image = drawn(*size)
        ours = normalise(torch.tensor(fit_image(image, spec))[None], spec)[0]
        assert torch.equal(ours, transforms(image)), size
        array: Tensor = functional.pil_to_tensor(image)
        ours = normalise(fit_arrays(array[None], spec), spec)[0]
        assert torch.equal(ours, transforms(array)), size


def test_another_size_scales_the_resize_and_keeps_the_rest() -> None:
    spec = zoo.spec_of("mobilenet_v2", "IMAGENET1K_V1", 112)
    assert (spec.size, spec.resize, spec.interpolation) == (112, 128, "bilinear")
    assert zoo.spec_of("efficientnet_b0", None, 112).interpolation == "bicubic"


def test_both_sides_are_brought_to_one_size_where_the_source_squashes() -> None:
    spec = ImageSpec(3, 32, (0.0,) * 3, (1.0,) * 3, 32, "bicubic", squash=True)
    image = drawn(97, 301)
    theirs = functional.pil_to_tensor(image.resize((32, 32), Image.Resampling.BICUBIC))
    assert torch.equal(torch.tensor(fit_image(image, spec)), theirs)


def test_a_checkpoint_says_which_preset_is_assumed_and_takes_another(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save(zoo.build("mobilenet_v2", 4, 224).state_dict(), file)
    assumed = zoo.open(model="mobilenet_v2", checkpoint=file)
    assert assumed.spec == zoo.spec_of("mobilenet_v2", "IMAGENET1K_V2")
    assert assumed.said == (
        "images are prepared as for mobilenet_v2's IMAGENET1K_V2: the shorter side resized to"
        " 232 (bilinear), the centre 224 x 224; another: source.preset=IMAGENET1K_V1",
    )
    chosen = zoo.open(model="mobilenet_v2", checkpoint=file, preset="IMAGENET1K_V1")
    assert chosen.spec == zoo.spec_of("mobilenet_v2", "IMAGENET1K_V1")
    assert chosen.said == ()


@pytest.mark.parametrize("key", ["weights", "preset"])
def test_an_unknown_name_of_weights_is_refused_with_the_known_ones(key: str) -> None:
    with pytest.raises(Refusal, match=f"source.{key}=imagenet") as refused:
        zoo.architecture(model="mobilenet_v2", **{key: "imagenet"})
    assert "IMAGENET1K_V1" in str(refused.value)
