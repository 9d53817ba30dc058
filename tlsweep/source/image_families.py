"""How the models of images of transformers are built, cut, and fed: by their own files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlsweep.errors import Fault, Refusal
from tlsweep.terms import ImageSpec, Interpolation

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlsweep.cut import CutPoints

PREPROCESSOR = "preprocessor_config.json"
_RESAMPLING: Mapping[int, Interpolation] = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's
_CONVNEXT_CROP = 224 / 256  # what its processor has where the file says nothing
_CONVNEXT_WHOLE = 384  # from this size on it crops nothing


@dataclass(frozen=True)
class ImageFamily:
    """Models of one architecture.

    model: the class without a head; pools: what the model itself pools: its class token, its
    patches, or all; pooler: whether the class has one, which is left out.
    """

    model: str
    pools: str = "all"
    pooler: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """What the class is told beside the config."""
        return {"add_pooling_layer": False} if self.pooler else {}

    def build(self, config: Any) -> nn.Module:
        """The model with random weights from the global generator."""
        import transformers

        built: nn.Module = getattr(transformers, self.model)(config, **self.options)
        return built

    def trunk(self, whole: nn.Module) -> nn.Module:
        """What the source is of a model of that class."""
        return whole


FAMILIES: Mapping[str, ImageFamily] = {
    "vit": ImageFamily("ViTModel", "class", pooler=True),
    "deit": ImageFamily("DeiTModel", "class", pooler=True),
    "dinov2": ImageFamily("Dinov2Model", "class"),
    "dinov2_with_registers": ImageFamily("Dinov2WithRegistersModel", "class"),
    "beit": ImageFamily("BeitModel", "patches", pooler=True),
    "swin": ImageFamily("SwinModel", pooler=True),
    "convnext": ImageFamily("ConvNextModel"),
    "siglip": ImageFamily("SiglipVisionModel"),
    "siglip_vision_model": ImageFamily("SiglipVisionModel"),
}


def dissect(model: nn.Module, example: Tensor) -> CutPoints:
    """Cut points after the embeddings and after each layer, found as in any network."""
    from tlsweep.cut import CutPoints, cut_points

    config: Any = model.config
    cuts = cut_points(model, example, classifier=False)
    tokens = _pooled(FAMILIES[config.model_type].pools, config, cuts[-1].shape)
    points = [
        dataclasses.replace(cut, tokens=tokens if _knows_all(cut.shape, i, cuts) else None)
        for i, cut in enumerate(cuts)
    ]
    return CutPoints(points, cuts.said)


def why_not(config: Any) -> str | None:
    """Why a model is not taken, though its family is; None if it is."""
    if getattr(config, "quantization_config", None) is not None:
        return "weights are numbers of floating point; these are quantised"
    return None


def _pooled(pools: str, config: Any, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    if pools == "all" or len(shape) != 2:
        return None
    if pools == "patches" and getattr(config, "use_mean_pooling", True):
        return tuple(range(1, shape[0]))
    return (0,)


def _knows_all(shape: tuple[int, ...], index: int, cuts: CutPoints) -> bool:
    """Whether a class token is there, and has seen the image: it has not in the embeddings."""
    return index > 1 and len(shape) == 2 and shape[0] == cuts[-1].shape[0]


# ---------------------------------------------------------------------- preprocessing
def image_spec(model: str, file: Path | None, config: Any) -> ImageSpec:
    """What a model's own image processor does. file: its settings, None where there is none.

    Raises Refusal where they say what is not done here.
    """
    if file is None:
        rule = f"a folder of a model of images holds {PREPROCESSOR}: size, mean and deviation"
        mend = f"{PREPROCESSOR} of this model beside config.json"
        raise Refusal(Fault(f"source.model={model} (no {PREPROCESSOR})", rule, mend))
    told: dict[str, Any] = json.loads(file.read_text())
    faults = [
        Fault(f"source.model={model} ({PREPROCESSOR}: {value})", rule, "such a processor")
        for value, rule in _unlike(told)
    ]
    if faults:
        raise Refusal(*faults)
    crop, resize, squash = _sizes(told)
    channels = int(getattr(config, "num_channels", 3))
    plain = told.get("do_normalize") is False
    mean = (0.0,) * channels if plain else tuple(told.get("image_mean", (0.5,) * channels))
    std = (1.0,) * channels if plain else tuple(told.get("image_std", (0.5,) * channels))
    how = _RESAMPLING[int(told.get("resample", 2))]
    return ImageSpec(channels, crop, mean, std, resize, how, squash)


def _unlike(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is not done here, as (value, rule)."""
    found = []
    if told.get("resample", 2) not in _RESAMPLING:
        found.append((f"resample {told['resample']}", "images are resized bilinear or bicubic"))
    if abs(told.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        found.append((f"rescale_factor {told['rescale_factor']}", "levels are divided by 255"))
    for key in ("do_resize", "do_rescale"):
        if told.get(key) is False:
            found.append((f"{key} false", "images are resized, and brought to 0..1"))
    if _side(told.get("size", 224)) is None:
        found.append((f"size {told['size']}", "images are square"))
    return found


def _sizes(told: Mapping[str, Any]) -> tuple[int, int, bool]:
    """Side of the crop, side that is resized to, and whether the whole image is squashed to it."""
    size = told.get("size", 224)
    side = _side(size)
    assert side is not None
    kept_shape = isinstance(size, Mapping) and "shortest_edge" in size
    if "ConvNext" in str(told.get("image_processor_type") or told.get("feature_extractor_type")):
        if side >= _CONVNEXT_WHOLE:
            return side, side, True
        return side, int(side / (told.get("crop_pct") or _CONVNEXT_CROP)), False
    if told.get("do_center_crop"):
        crop = _side(told.get("crop_size", side)) or side
        return crop, side, not kept_shape
    return side, side, not kept_shape


def _side(size: Any) -> int | None:
    """The side of a square; None for another shape."""
    if isinstance(size, Mapping):
        found = {int(value) for value in size.values() if value}
        return found.pop() if len(found) == 1 else None
    return int(size)
