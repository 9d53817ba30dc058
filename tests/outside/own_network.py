"""A network of a user's own, as ``source.build=own_network:build`` names it."""

from typing import Any

WIDTH = 8


def build() -> Any:
    from torch import nn

    convs = [nn.Sequential(nn.Conv2d(i, WIDTH, 3), nn.ReLU()) for i in (3, WIDTH, WIDTH)]
    return nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 4))


def numbers() -> Any:
    return [1, 2, 3]


def branching() -> Any:
    """A network that torch.fx cannot trace: it branches on the numbers of its input."""
    import torch
    from torch import nn

    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, WIDTH, 3)
            layers = (nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(2))
            self.layers = nn.ModuleList(layers)
            self.head = nn.Linear(WIDTH, 4)

        def forward(self, x: Any) -> Any:
            x = self.stem(x if x.sum() > 0 else -x)
            for layer in self.layers:
                x = x + torch.relu(layer(x))
            return self.head(x.mean((2, 3)))

    return Branching()
