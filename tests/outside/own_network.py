"""A network of a user's own, as ``source.build=own_network:build`` names it."""

from typing import Any

WIDTH = 8


def build() -> Any:
    from torch import nn

    convs = [nn.Sequential(nn.Conv2d(i, WIDTH, 3), nn.ReLU()) for i in (3, WIDTH, WIDTH)]
    return nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 4))


def numbers() -> Any:
    return [1, 2, 3]
