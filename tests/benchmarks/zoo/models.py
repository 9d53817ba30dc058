"""The models of the zoo's table, by kind and name: how each is built, and what it is fed."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tlsweep.cut import CutPoints, cut_points
from tlsweep.source import dissect, open_architecture
from tlsweep.source.base import private_rng

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS), str(TESTS / "cut")]  # the small models are those of the tests
SIZES = (64, 56, None)  # pixels; None for what the model's weights want

# one of each family or two, of those that a CPU builds in a moment
TIMM = (
    *("resnet18", "resnet26t", "resnext26ts", "resnetv2_50", "seresnet50", "res2net50_26w_4s"),
    *("resnest14d", "ecaresnet26t", "skresnet18", "wide_resnet50_2", "regnetx_002", "regnety_002"),
    *("densenet121", "dla34", "dpn48b", "vgg11", "vgg11_bn", "vovnet39a", "ese_vovnet19b_dw"),
    *("mobilenetv2_050", "mobilenetv3_small_050", "mobilenetv4_conv_small", "mnasnet_small"),
    *("efficientnet_b0", "tf_efficientnetv2_b0", "tinynet_e", "mixnet_s", "fbnetc_100"),
    *("ghostnet_050", "ghostnetv2_100", "hardcorenas_a", "lcnet_050", "hrnet_w18_small"),
    *("inception_v3", "inception_v4", "xception41", "cspresnet50", "cspdarknet53", "darknet53"),
    *("convnext_atto", "convnextv2_atto", "inception_next_atto", "poolformer_s12", "caformer_s18"),
    *("convmixer_768_32", "repvgg_a0", "mobileone_s0", "fastvit_t8", "repvit_m0_9", "starnet_s1"),
    *("edgenext_xx_small", "efficientformer_l1", "efficientformerv2_s0", "efficientvit_b0"),
    *("mobilevit_xxs", "mobilevitv2_050", "levit_128s", "tiny_vit_5m_224", "nest_tiny"),
    *("vit_tiny_patch16_224", "deit_tiny_patch16_224", "deit3_small_patch16_224"),
    *("beit_base_patch16_224", "eva02_tiny_patch14_224", "cait_xxs24_224", "xcit_nano_12_p16_224"),
    *("crossvit_tiny_240", "coat_lite_tiny", "convit_tiny", "pvt_v2_b0", "twins_pcpvt_small"),
    *("swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "maxvit_tiny_tf_224"),
    *("mixer_s32_224", "resmlp_12_224", "gmlp_s16_224", "visformer_tiny", "volo_d1_224"),
)
OWN = ("Branches", "Loops", "Checkpoints", "OwnGradient", "TellsPlaces")


@dataclass(frozen=True)
class Subject:
    """A model that is looked at. fed: sizes to try, the first that the model takes is used."""

    kind: str
    name: str
    build: Callable[[int | None], tuple[nn.Module, Tensor]]
    cut: Callable[[nn.Module, Tensor], CutPoints]
    fed: tuple[int | None, ...] = (None,)


def subjects() -> Iterator[Subject]:
    """All of them, in the order of the table."""
    yield from map(_torchvision, _torchvision_names())
    for name in TIMM:
        yield _timm(name, headless=False)
        yield _timm(name, headless=True)
    from small_image_models import CONFIGS as IMAGES
    from small_text_models import CONFIGS as TEXTS

    for family in TEXTS:
        yield _transformers("text", family)
    for family in IMAGES:
        yield _transformers("image", family)
    yield _word_vectors()
    yield from map(_own, OWN)


def _torchvision_names() -> list[str]:
    import torchvision

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _torchvision(name: str) -> Subject:
    def build(size: int | None) -> tuple[nn.Module, Tensor]:
        from tlsweep.source import zoo

        fed = zoo.spec_of(name).size if size is None else size
        with private_rng(0):
            return zoo.build(name, 1000, fed), torch.zeros(2, 3, fed, fed)

    return Subject("torchvision", name, build, cut_points, SIZES)


def _timm(name: str, *, headless: bool) -> Subject:
    def build(size: int | None) -> tuple[nn.Module, Tensor]:
        from tlsweep.source import timm_zoo

        fed = timm_zoo.spec_of(name, size).size
        with private_rng(0):
            classes = 0 if headless else None
            model = timm_zoo.build(name, classes, timm_zoo.told(name, size))
        return model, torch.zeros(2, 3, fed, fed)

    from tlsweep.source import timm_zoo

    return Subject("timm, headless" if headless else "timm", name, build, timm_zoo.dissect, SIZES)


def _transformers(of: str, family: str) -> Subject:
    def build(size: int | None) -> tuple[nn.Module, Tensor]:
        import small_image_models
        import small_text_models

        with tempfile.TemporaryDirectory() as folder:
            write = small_text_models.write if of == "text" else small_image_models.write
            return open_architecture("transformers", model=str(write(Path(folder), family)))

    def cut(model: nn.Module, example: Tensor) -> CutPoints:
        return dissect("transformers", model, example)

    return Subject(f"transformers, {of}", family, build, cut)


def _word_vectors() -> Subject:
    def build(size: int | None) -> tuple[nn.Module, Tensor]:
        vectors = np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "vectors.npz"
            np.savez(file, words=[f"word{i}" for i in range(20)], vectors=vectors)
            return open_architecture("word_vectors", file=str(file), length=12)

    def cut(model: nn.Module, example: Tensor) -> CutPoints:
        return dissect("word_vectors", model, example)

    return Subject("word vectors", "a table", build, cut)


def _own(name: str) -> Subject:
    def build(size: int | None) -> tuple[nn.Module, Tensor]:
        import untraceable

        with private_rng(0):
            return getattr(untraceable, name)(), torch.zeros(2, 3, 16, 16)

    return Subject("one's own", name, build, cut_points)
