"""Small networks, one for each way in which a forward pass can make cutting hard."""

from __future__ import annotations

import threading

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """A block: nothing inside it carries all of the data."""

    def __init__(self, channels: int, *, inplace: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.norm(self.conv(x)))


class Small(nn.Module):
    """Convolution, two residual blocks, pool, dropout, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(Residual(4), Residual(4, inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(self.pool(self.blocks(self.stem(x))), 1))


class Body(nn.Module):
    """Convolutions with ``forward_between`` between them: where the traps are."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 5)

    def between(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        x = self.between(self.first(x))
        return self.head(self.second(x).mean([2, 3]))


class InPlaceStatement(Body):
    """``x.mul_()`` as a statement: its value is read by nobody."""

    def between(self, x: Tensor) -> Tensor:
        x.mul_(2.0)
        x[:, 0] = 1.0
        return x


class InPlaceOnInput(Body):
    """Writes into the raw input itself."""

    def forward(self, x: Tensor) -> Tensor:
        x.add_(1.0)
        return super().forward(x)


class LateBatchSize(Body):
    """Reads the batch size before the first block and uses it after the second."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([[[[2.0]]]]))

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        scale = self.scale.expand(n, -1, -1, -1)
        x = self.second(self.first(x) * scale)
        return self.head(x.mean([2, 3]).reshape(n, -1) + scale.reshape(n, 1))


class HeightCrosses(Body):
    """Uses the height of the input after the first convolution."""

    def forward(self, x: Tensor) -> Tensor:
        h = x.shape[2]
        x = self.second(self.first(x))
        return self.head((x * h).mean([2, 3]))


class AsksForSizes(nn.Module):
    """Checks its input, hands height and width to its blocks, loops over the width."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.blocks = nn.ModuleList([MapOfTokens() for _ in range(2)])
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == 3
        assert x.shape[-1] % 4 == 0, "a width in whole patches"
        x = self.patches(x)
        height, width = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        for _ in range(width):
            x = x + 0.1
        for block in self.blocks:
            x = block(x, height, width)
        if x.dim() == 3:
            x = x.mean(1)
        return self.head(x)


class MapOfTokens(nn.Module):
    """A block: makes a map of its tokens, and tokens of that again."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        n, _, c = x.shape
        z = self.norm(x).transpose(1, 2).reshape(n, c, height, width)
        return x + self.conv(z).flatten(2).transpose(1, 2)


class Caches(Body):
    """Keeps what it has made once, in a dict inside a dict, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.cache: dict[str, dict[str, Tensor]] = {}
        self.calls = 0

    def between(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        kept = self.cache.setdefault(str(x.device), {})
        if "twice" not in kept:
            kept["twice"] = self.scale * 2
        return x * kept["twice"]


class CachesBehindALock(Caches):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Recurrent(nn.Module):
    """Numbers of a vocabulary to two LSTMs, whose states are not used."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30, 8)
        self.low = nn.LSTM(8, 6, batch_first=True)
        self.high = nn.LSTM(6, 6, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, ids: Tensor) -> Tensor:
        x, _ = self.low(self.words(ids))
        x, (_h, _c) = self.high(x)
        return self.head(x[:, -1])


class MaskWrittenInPlace(Body):
    """Makes a mask from a parameter, writes into it, and uses it after the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.mask = nn.Parameter(torch.full((1, 4, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        mask = self.mask.expand(x.shape[0], -1, -1, -1).clone()
        mask[:, 1:] = 1.0
        x = self.second(self.first(x)) * mask
        return self.head(x.mean([2, 3]))


class FunctionalDropout(Body):
    """Dropout as a function, which tracing would switch off or on for good."""

    def between(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5, training=self.training)


class NoisyWhenTraining(nn.Module):
    """Branches on its mode."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return x + 1.0
        return x * 2.0


class BranchesOnMode(Body):
    """Has a module that branches on its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = NoisyWhenTraining()

    def between(self, x: Tensor) -> Tensor:
        return self.noise(x)


class LooksAtValues(nn.Module):
    """Cannot be traced: it decides by the values of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        if x.sum() > 0 and y.sum() > 0:
            return y
        return x


class HoldsUntraceable(Body):
    """Has a block that cannot be traced, between two that can."""

    def __init__(self) -> None:
        super().__init__()
        self.odd = LooksAtValues()

    def between(self, x: Tensor) -> Tensor:
        return self.odd(x)


class Tuples(Body):
    """Passes a tuple on (chunk), which is no place to cut."""

    def between(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return torch.cat([b, a], dim=1)


class Buffers(Body):
    """Uses a buffer, a tensor that is no buffer, and one made in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0, 4.0]))
        self.shift = torch.tensor(0.5)

    def between(self, x: Tensor) -> Tensor:
        scale = self.scale.view(1, -1, 1, 1)
        return x * scale + self.shift + torch.tensor(0.25)


class Tied(nn.Module):
    """One block used twice, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.block = Residual(4)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.block(self.first(x))).mean([2, 3]))


class MoreArguments(Body):
    """Takes more arguments than the input."""

    def forward(self, x: Tensor, mask: Tensor | None = None, twice: bool = False) -> Tensor:
        if mask is not None:
            x = x * mask
        return super().forward(x * 2 if twice else x)


class Mix(nn.Module):
    """A block: every token looks at all others."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + (x @ x.transpose(1, 2)).softmax(-1) @ self.value(x)


class Tokens(nn.Module):
    """Patches of 4 x 4 pixels, a class token before them, two blocks, the class token pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 4, stride=4)
        self.token = nn.Parameter(torch.ones(1, 1, 4))
        self.first, self.second = Mix(), Mix()
        self.head = nn.Linear(4, 5)

    def tokens(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.first(self.with_class_token(x))

    def with_class_token(self, x: Tensor) -> Tensor:
        return torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)

    def pooled(self, x: Tensor) -> Tensor:
        return x[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pooled(self.second(self.tokens(x))))


class LateClassToken(Tokens):
    """Puts the class token in between its blocks."""

    def tokens(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.with_class_token(self.first(x))


class MeanOfTokens(Tokens):
    """Averages all tokens."""

    def pooled(self, x: Tensor) -> Tensor:
        return x.mean(1)


class MaximumOfTokens(Tokens):
    """Takes the maximum over all tokens, whichever has it."""

    def pooled(self, x: Tensor) -> Tensor:
        return x.max(1).values


class MeanOfPatches(Tokens):
    """Averages all tokens but the class token."""

    def pooled(self, x: Tensor) -> Tensor:
        return x[:, 1:].mean(1)


class FirstAndLast(Tokens):
    """Pools two tokens that are far apart."""

    def pooled(self, x: Tensor) -> Tensor:
        return x[:, 0] + x[:, -1]


class ScoresEveryToken(Tokens):
    """Its classifier, zero at first, scores every token; the class token's scores count."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.tokens(x)))[:, 0]


class BranchAtZero(Tokens):
    """Its blocks add nothing at first."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.first.value.weight)
        nn.init.zeros_(self.second.value.weight)


class BackToAMap(Tokens):
    """Makes a map of its patches again, and takes every other place of it."""

    def pooled(self, x: Tensor) -> Tensor:
        n, c = x.shape[0], x.shape[2]
        x = x[:, 1:].transpose(1, 2).reshape(n, c, 4, 3)
        return F.relu(x)[:, :, ::2].mean([2, 3])


class PickyMix(Mix):
    """Cannot be traced, and takes nothing but numbers."""

    def forward(self, x: Tensor) -> Tensor:
        if x.isnan().any():
            raise ValueError("numbers, please")
        return super().forward(x)


class TakesNumbers(Tokens):
    """Has a block that fails where tokens are looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.first = PickyMix()


class KeepsAMean(Tokens):
    """Has a block that writes into a buffer whenever it is run."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Remembers()


class Remembers(Mix):
    """Notes the mean of all that it is given, in any mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add_(x.detach().mean((0, 1)))
        return super().forward(x)


TRAPS = [
    InPlaceStatement,
    InPlaceOnInput,
    LateBatchSize,
    HeightCrosses,
    AsksForSizes,
    Caches,
    CachesBehindALock,
    MaskWrittenInPlace,
    FunctionalDropout,
    BranchesOnMode,
    HoldsUntraceable,
    Tuples,
    Buffers,
    Tied,
    MoreArguments,
    Tokens,
    BackToAMap,
    Small,
]


@torch.no_grad()
def unlike_fresh(model: nn.Module) -> nn.Module:
    """In eval mode, with BatchNorm statistics and classifiers that are not those of a new module.

    Some classifiers start at zero: then any two outputs would be equal.
    """
    generator = torch.Generator().manual_seed(7)
    for name, buffer in model.named_buffers():
        # means near zero: larger ones would leave every ReLU dead
        if name.endswith("running_mean"):
            buffer.copy_(0.05 * torch.randn(buffer.shape, generator=generator))
        if name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.any():
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()
