"""Small networks that torch.fx cannot trace: they branch on numbers, loop, checkpoint."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

WIDTH, CLASSES = 8, 4


class Block(nn.Module):
    """A residual block with a norm that keeps statistics, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(torch.relu(self.norm(self.conv(x))))


class Branches(nn.Module):
    """Branches on its input. A stem, three layers, a norm, a classifier; a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3)
        self.shift = nn.Parameter(torch.randn(WIDTH, 1, 1))
        self.layers = nn.ModuleList(Block() for _ in range(3))
        self.norm = nn.BatchNorm2d(WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Any:
        if x.sum() > 0:
            x = x * 2
        return self.end(self.through(self.stem(x) + self.shift))

    def through(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def end(self, x: Tensor) -> Any:
        return self.head(torch.relu(self.norm(x)).mean((2, 3)))


class Loops(Branches):
    """Goes on until its numbers are small."""

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        for _ in range(20):
            if x.abs().max() <= 1:
                break
            x = x / 2
        return self.end(self.through(x))


class CallsAsOften(Branches):
    """Runs its first layer as often as its numbers say."""

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x)
        for _ in range(2 if x.sum() > 0 else 1):
            x = self.layers[0](x)
        return self.end(self.layers[2](self.layers[1](x)))


class Checkpoints(Branches):
    """Each layer is computed again in the backward pass."""

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x * 2 if x.sum() > 0 else x)
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False)
        return self.end(x)


class CheckpointsAll(Branches):
    """While it is trained, all layers are computed again as one."""

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x * 2 if x.sum() > 0 else x)
        if self.training:
            return self.end(checkpoint(self.through, x, use_reentrant=False))
        return self.end(self.through(x))


class _Times(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return grad[0] * weight, (grad[0] * x).sum((0, 2, 3))[:, None, None]


class OwnGradient(Branches):
    """Has a step with a gradient of its own, whose weight no module is called for."""

    def forward(self, x: Tensor) -> Any:
        x = self.through(self.stem(x))
        if bool(x.isnan().any()):
            raise ValueError("not a number")
        return self.end(_Times.apply(x, self.shift))


class Jumps(Branches):
    """What the stem makes is added again above the second layer."""

    def forward(self, x: Tensor) -> Any:
        stem = self.stem(x * 2 if x.sum() > 0 else x)
        x = self.layers[1](self.layers[0](stem)) + stem
        return self.end(self.layers[2](x))


class DecidesEarly(Branches):
    """What its input says is done above the second layer, where no tensor tells of it."""

    def forward(self, x: Tensor) -> Any:
        up = bool(x.sum() > 0)
        x = self.layers[1](self.layers[0](self.stem(x)))
        return self.end(self.layers[2](x * 3 if up else x))


class OwnTable(Branches):
    """All layers are given what is made of a parameter, zeros at first, before any of them."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.shift)

    def forward(self, x: Tensor) -> Any:
        table = self.shift * 2
        x = self.stem(x * 2 if x.sum() > 0 else x)
        for layer in self.layers:
            x = layer(x) + table
        return self.end(x)


class Places(nn.Module):
    """A table of places: the same for every input of a shape."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, WIDTH, 14, 14))

    def forward(self) -> Tensor:
        return self.table.cos()


class TellsPlaces(Branches):
    """All layers are told places, which a module makes before the first of them."""

    def __init__(self) -> None:
        super().__init__()
        self.places = Places()

    def forward(self, x: Tensor) -> Any:
        places = self.places()
        x = self.stem(x * 2 if x.sum() > 0 else x)
        for layer in self.layers:
            x = layer(x + places)
        return self.end(x)


class InPlace(Branches):
    """Writes into what the stem and the layers gave."""

    def forward(self, x: Tensor) -> Any:
        x = self.stem(x * 2 if x.sum() > 0 else x)
        for layer in self.layers:
            x.mul_(2)
            x = layer(x)
        return self.end(x.add_(1))


class Attends(nn.Module):
    """Patches, a class token, places, three layers of torch's, the class token pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.cls = nn.Parameter(torch.randn(1, 1, 16))
        self.places = nn.Parameter(torch.randn(1, 17, 16))
        layers = (nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(3))
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Any:
        z = self.patch(x if x.any() else x + 1).flatten(2).mT
        z = torch.cat([self.cls.expand(len(z), -1, -1), z], 1) + self.places
        return self.head(self.norm(self.blocks(z))[:, 0])


class Told(Block):
    """A block that is told more than its input."""

    def forward(self, x: Tensor, told: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x) * told


class Conditions(Branches):
    """What a module makes of the input, before all layers, is told to each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.condition = nn.Linear(3, WIDTH)
        self.layers = nn.ModuleList(Told() for _ in range(3))

    def forward(self, x: Tensor) -> Any:
        told = self.condition(x.mean((2, 3)))[:, :, None, None]
        x = self.stem(x * 2 if x.sum() > 0 else x)
        for layer in self.layers:
            x = layer(x, told)
        return self.end(x)


class Refuses(Branches):
    """Branches on nothing, but torch.fx cannot trace it."""

    def forward(self, x: Tensor) -> Any:
        if isinstance(x, torch.fx.Proxy):
            raise TypeError("no symbols here")
        return self.end(self.through(self.stem(x)))
