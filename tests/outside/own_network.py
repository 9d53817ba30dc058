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


def conditioned() -> Any:
    """A network whose layers are told what a module makes of the input, beside their own."""
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

        def forward(self, x: Any, told: Any) -> Any:
            return x + torch.relu(self.conv(x)) * told

    class Conditioned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, WIDTH, 3)
            self.condition = nn.Linear(3, WIDTH)
            self.layers = nn.ModuleList(Layer() for _ in range(3))
            self.last = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3), nn.ReLU())
            self.head = nn.Linear(WIDTH, 4)

        def forward(self, x: Any) -> Any:
            if isinstance(x, torch.fx.Proxy):
                raise TypeError("no symbols here")
            told = self.condition(x.mean((2, 3)))[:, :, None, None]
            x = self.stem(x)
            for layer in self.layers:
                x = layer(x, told)
            return self.head(self.last(x).mean((2, 3)))

    return Conditioned()
