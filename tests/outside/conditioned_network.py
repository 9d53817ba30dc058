"""A network of a user's own whose layers are told what a module makes of the input, too."""

from typing import Any


def build() -> Any:
    import torch
    from torch import nn

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x: Any, told: Any) -> Any:
            return x + torch.relu(self.conv(x)) * told

    class Conditioned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.condition = nn.Conv2d(3, 8, 3), nn.Linear(3, 8)
            self.layers = nn.ModuleList(Layer() for _ in range(3))
            self.last = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU())
            self.head = nn.Linear(8, 4)

        def forward(self, x: Any) -> Any:
            if isinstance(x, torch.fx.Proxy):
                raise TypeError("no symbols here")
            told = self.condition(x.mean((2, 3)))[:, :, None, None]
            x = self.stem(x)
            for layer in self.layers:
                x = layer(x, told)
            return self.head(self.last(x).mean((2, 3)))

    return Conditioned()
