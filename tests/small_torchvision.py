"""Torchvision's larger architectures, made small: the same code in a tenth of the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn
from torchvision.models import DenseNet, SwinTransformer, VisionTransformer


def _densenet() -> nn.Module:
    return DenseNet(growth_rate=8, block_config=(2, 3, 2, 2), num_init_features=16, bn_size=2)


def _vit() -> nn.Module:
    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 3, "num_heads": 2}
    return VisionTransformer(**sizes, hidden_dim=32, mlp_dim=64)


def _swin() -> nn.Module:
    return SwinTransformer(
        patch_size=[4, 4], embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4],
        stochastic_depth_prob=0.2,
    )  # fmt: skip


SMALL: Mapping[str, tuple[Callable[[], nn.Module], int]] = {
    "small densenet": (_densenet, 64),
    "small vit": (_vit, 32),
    "small swin": (_swin, 64),
}
"""By name: what builds it with random weights, and the side of its images."""
