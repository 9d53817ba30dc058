"""Small models of images that nobody trained, in folders as transformers writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers

from tlsweep.source.base import private_rng

SIZE = 32
LAYERS = 3
_PLAIN = {
    "hidden_size": 16,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": SIZE,
    "patch_size": 8,
    "initializer_range": 0.5,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "vit": _PLAIN,
    "deit": _PLAIN,
    "dinov2": _PLAIN,
    "dinov2_with_registers": _PLAIN,
    "beit": {**_PLAIN, "use_relative_position_bias": True},
    "swin": {
        "image_size": SIZE,
        "patch_size": 2,
        "embed_dim": 8,
        "depths": [2, 2],
        "num_heads": [2, 2],
        "window_size": 4,
        "initializer_range": 0.5,
    },
    "convnext": {"hidden_sizes": [8, 16], "depths": [2, 2], "num_stages": 2, "image_size": SIZE},
    "siglip_vision_model": _PLAIN,
}
"""A small configuration of every family, by its name."""

_SQUASHED = {"size": {"height": SIZE, "width": SIZE}}
_CROPPED = {"size": {"shortest_edge": 40}, "do_center_crop": True}
_CROP = {"crop_size": {"height": SIZE, "width": SIZE}}
PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViTImageProcessor", _SQUASHED),
    "deit": (
        "DeiTImageProcessor",
        {"size": {"height": 40, "width": 40}, "do_center_crop": True, **_CROP},
    ),
    "dinov2": ("BitImageProcessor", {**_CROPPED, **_CROP}),
    "dinov2_with_registers": ("BitImageProcessor", {**_CROPPED, **_CROP}),
    "beit": ("BeitImageProcessor", _SQUASHED),
    "swin": ("ViTImageProcessor", {**_SQUASHED, "resample": 3}),
    "convnext": ("ConvNextImageProcessor", {"size": {"shortest_edge": SIZE}, "crop_pct": 0.8}),
    "siglip_vision_model": ("SiglipImageProcessor", {**_SQUASHED, "resample": 3}),
}
"""The image processor of every family, and what it is told."""


def write(folder: Path, family: str, seed: int = 0, kind: str = "AutoModel", **more: Any) -> Path:
    """A folder with config, weights and image processor of a small model. kind: its class."""
    config = transformers.AutoConfig.for_model(family, **{**CONFIGS[family], **more})
    with private_rng(seed):
        model = getattr(transformers, kind).from_config(config)
    model.save_pretrained(folder)
    processor(family).save_pretrained(folder)
    return folder


def processor(family: str) -> Any:
    """A model's own image processor, which resizes by Pillow."""
    name, told = PROCESSORS[family]
    return getattr(transformers, f"{name}Pil", getattr(transformers, name))(**told)
