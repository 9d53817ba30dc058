"""Our sources, and those of another package, pass their suite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import timm
import torch
from small_image_models import write as write_images
from small_text_models import LENGTH, write

from tlsweep.conformance import SourceSuite
from tlsweep.glyphs.images import IMAGE
from tlsweep.source import held
from tlsweep.source.base import private_rng
from tlsweep.source.glyph_network import GlyphNetwork
from tlsweep.source.glyph_pretraining import Recipe
from tlsweep.source.zoo import build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


class TestGlyphs(SourceSuite):
    name = "glyphs"

    @pytest.fixture(autouse=True)
    def _few_steps(self, folder: Path) -> None:
        self.options, self.other = (
            {"cache_dir": str(folder), "recipe": Recipe(steps, batch_size=8, holdout=16)}
            for steps in (1, 2)
        )


class TestTorchvision(SourceSuite):
    name = "torchvision"

    @pytest.fixture(autouse=True)
    def _weights(self, checkpoint: Path, folder: Path) -> None:
        if not (other := folder / "other.pt").exists():
            torch.save(shufflenet(1).state_dict(), other)
        self.options, self.other = (
            {"model": "shufflenet_v2_x0_5", "checkpoint": str(file), "image_size": 32}
            for file in (checkpoint, other)
        )


class TestTimm(SourceSuite):
    name = "timm"

    @pytest.fixture(autouse=True)
    def _weights(self, folder: Path) -> None:
        model, made = "mobilenetv3_small_050", []
        for seed in range(2):
            if not (file := folder / f"timm{seed}.pt").exists():
                with private_rng(seed):
                    torch.save(timm.create_model(model, num_classes=3).state_dict(), file)
            made.append({"model": model, "checkpoint": str(file), "image_size": 32})
        self.options, self.other = made


class _Transformers(SourceSuite):
    """A family of transformers. family: its name."""

    name = "transformers"
    family: str
    more: Mapping[str, Any] = MappingProxyType({})

    @pytest.fixture(autouse=True)
    def _folders(self, folder: Path) -> None:
        made = []
        for seed in range(2):
            if not (place := folder / f"{type(self).__name__}{seed}").exists():
                write(place, self.family, seed, **self.more)
            made.append({"model": str(place), "length": LENGTH})
        self.options, self.other = made


class _Images(SourceSuite):
    """A family of models of images of transformers. family: its name."""

    name = "transformers"
    family: str
    more: Mapping[str, Any] = MappingProxyType({})

    @pytest.fixture(autouse=True)
    def _folders(self, folder: Path) -> None:
        made = []
        for seed in range(2):
            if not (place := folder / f"{type(self).__name__}{seed}").exists():
                write_images(place, self.family, seed, **self.more)
            made.append({"model": str(place), "length": None})
        self.options, self.other = made


class TestViT(_Images):
    family = "vit"


class TestDeiT(_Images):
    family = "deit"


class TestDinov2(_Images):
    family = "dinov2"


class TestBeit(_Images):
    family = "beit"


class TestSwin(_Images):
    family = "swin"


class TestConvNext(_Images):
    family = "convnext"


class TestSiglip(_Images):
    family = "siglip_vision_model"


class TestBert(_Transformers):
    family = "bert"


class TestRoberta(_Transformers):
    family = "roberta"


class TestDistilBert(_Transformers):
    family = "distilbert"


class TestElectra(_Transformers):
    family = "electra"


class TestAlbert(_Transformers):
    family = "albert"


class TestDeberta(_Transformers):
    family = "deberta"


class TestDebertaV2(_Transformers):
    family = "deberta-v2"


class TestModernBert(_Transformers):
    family = "modernbert"


class TestGPT2(_Transformers):
    family = "gpt2"


class TestLlama(_Transformers):
    family = "llama"


class TestMistral(_Transformers):
    family = "mistral"


class TestQwen2(_Transformers):
    family = "qwen2"


class TestT5(_Transformers):
    family = "t5"


_NAMED = {
    "id2label": {0: "calm", 1: "sad", 2: "wild"},
    "label2id": {"calm": 0, "sad": 1, "wild": 2},
}
_OF_TEXTS = {"kind": "AutoModelForSequenceClassification", **_NAMED}
_OF_IMAGES = {"kind": "AutoModelForImageClassification", **_NAMED}


class TestClassifierOfBert(_Transformers):
    family, more = "bert", _OF_TEXTS


class TestClassifierOfGPT2(_Transformers):
    family, more = "gpt2", _OF_TEXTS


class TestClassifierOfBeit(_Images):
    family, more = "beit", _OF_IMAGES


class TestClassifierOfConvNext(_Images):
    family, more = "convnext", _OF_IMAGES


class TestHeld(SourceSuite):
    name = "held"

    @pytest.fixture(autouse=True)
    def _networks(self) -> None:
        self.options, self.other = ({"key": held.hold(letters(seed), IMAGE)} for seed in range(2))


def letters(seed: int) -> torch.nn.Module:
    with private_rng(seed):
        return GlyphNetwork(26)


def shufflenet(seed: int) -> torch.nn.Module:
    with private_rng(seed):
        return build("shufflenet_v2_x0_5", 5, 224)


@pytest.mark.usefixtures("beside")
class TestTiny(SourceSuite):
    name, options, other = "tiny", {"width": 4}, {"width": 5}


@pytest.mark.usefixtures("beside")
class TestTextEncoder(SourceSuite):
    name, other = "text_encoder", {"layers": 1}


class TestWordVectors(SourceSuite):
    name = "word_vectors"

    @pytest.fixture(autouse=True)
    def _tables(self, folder: Path) -> None:
        made = []
        for seed in range(2):
            file = folder / f"words{seed}.txt"
            numbers = np.random.default_rng(seed).normal(size=(30, 6)).round(4)
            rows = (f"word{i} {' '.join(map(str, row))}" for i, row in enumerate(numbers))
            file.write_text("\n".join(rows) + "\n")
            made.append({"file": str(file), "length": 7})
        self.options, self.other = made
