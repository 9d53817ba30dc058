"""Models of images of transformers: each family exact, fed as by its own image processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from small_image_models import CONFIGS, LAYERS, PROCESSORS, SIZE, processor, write

from tlsweep.cut import CutPoints, section
from tlsweep.errors import Fault, Refusal
from tlsweep.source import dissect, input_spec, open_architecture, open_source
from tlsweep.source.base import private_rng
from tlsweep.target.dataset import normalise
from tlsweep.target.decode import fit_image
from tlsweep.terms import ImageSpec

CLASSES = ("vit", "deit", "dinov2", "dinov2_with_registers")
HEADED = ("vit", "dinov2", "beit", "swin", "convnext")


def cut(folder: Path) -> CutPoints:
    return dissect("transformers", *open_architecture("transformers", model=str(folder)))


def refused(folder: Path, **more: Any) -> Fault:
    with pytest.raises(Refusal) as caught:
        open_source("transformers", model=str(folder), **more)
    (fault,) = caught.value.faults
    return fault


@pytest.mark.parametrize("family", CONFIGS)
def test_every_part_gives_the_models_own_last_hidden_state(family: str, tmp_path: Path) -> None:
    folder = write(tmp_path, family)
    source, cuts = open_source("transformers", model=str(folder)), cut(folder)
    own = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    assert source.said == () or "pooler" in source.said[0]
    model, x = source.model(), torch.randn(3, 3, SIZE, SIZE)
    with torch.no_grad():
        wanted = own(pixel_values=x).last_hidden_state
        for point in cuts:
            z = section(model, cuts, 0, point)(x)
            answer = section(model, cuts, point, None)(z)
            assert torch.equal(answer["last_hidden_state"], wanted), point.name
        assert z.shape == (3, *cuts[-1].shape)
        if family not in ("swin", "convnext"):
            assert len(cuts) == LAYERS + 2  # the input, the embeddings, the layers
        assert torch.equal(z, wanted)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_head_is_given_what_the_family_pools(family: str, tmp_path: Path) -> None:
    cuts = cut(write(tmp_path, family))
    patches = (SIZE // 8) ** 2
    above = [point.tokens for point in cuts[2:]]
    wanted = (
        (0,) if family in CLASSES else tuple(range(1, patches + 1)) if family == "beit" else None
    )
    assert above == [wanted] * len(above)
    assert cuts[1].tokens is None  # a class token that has seen nothing


@pytest.mark.parametrize("family", HEADED)
def test_a_classifier_is_left_out(family: str, tmp_path: Path) -> None:
    folder = write(tmp_path, family, kind="AutoModelForImageClassification", num_labels=5)
    source = open_source("transformers", model=str(folder))
    assert "tensors of" in source.said[0]
    assert "classifier" in source.said[0]
    own = transformers.AutoModelForImageClassification.from_pretrained(folder).base_model
    weights = own.state_dict()
    ours = source.model().state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in ours.items())


@pytest.mark.parametrize("family", PROCESSORS)
@pytest.mark.parametrize("shape", [(50, 61), (97, 40), (33, 33)])
def test_images_are_prepared_as_by_its_own_processor(
    family: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    spec = input_spec("transformers", model=str(write(tmp_path, family)))
    assert isinstance(spec, ImageSpec)
    draw = np.random.default_rng(0)
    image = Image.fromarray(draw.integers(0, 256, (*shape, 3), dtype=np.uint8))
    pixels = torch.from_numpy(np.ascontiguousarray(fit_image(image, spec, "pillow")))
    own = processor(family)
    levels = own(image, do_normalize=False, return_tensors="pt")["pixel_values"][0] * 255
    assert torch.equal(pixels.reshape(levels.shape).round(), levels.round())
    theirs = own(image, return_tensors="pt")["pixel_values"][0]
    assert torch.allclose(normalise(pixels[None], spec)[0], theirs, atol=1e-6)


def test_of_a_model_of_images_and_texts_the_images_are_taken(tmp_path: Path) -> None:
    config = transformers.SiglipConfig(
        vision_config=CONFIGS["siglip_vision_model"],
        text_config={"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2,
                     "num_hidden_layers": 1, "vocab_size": 16},
    )  # fmt: skip
    with private_rng(0):
        both = transformers.SiglipModel(config)
    both.save_pretrained(tmp_path)
    processor("siglip_vision_model").save_pretrained(tmp_path)
    source = open_source("transformers", model=str(tmp_path))
    weights = both.vision_model.state_dict()
    ours = source.model().state_dict()
    assert ours
    assert all(torch.equal(v, weights[k.removeprefix("vision_model.")]) for k, v in ours.items())


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"resample": 1}, "resample 1"),
        ({"size": {"height": 32, "width": 40}}, "images are square"),
        ({"rescale_factor": 1.0}, "levels are divided by 255"),
        ({"do_resize": False}, "do_resize false"),
    ],
)
def test_what_its_processor_does_and_this_does_not_is_refused(
    told: dict[str, Any], words: str, tmp_path: Path
) -> None:
    file = write(tmp_path, "vit") / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **told}))
    fault = refused(tmp_path)
    assert words in f"{fault.value} {fault.rule}"


def test_a_folder_without_its_processor_and_a_length_of_texts_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, "vit")
    assert refused(folder, length=12).mend == "leave it out"
    (folder / "preprocessor_config.json").unlink()
    assert "preprocessor_config.json" in refused(folder).mend
