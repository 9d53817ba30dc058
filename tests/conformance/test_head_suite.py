"""Our heads, and that of another package, pass their suite."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from tlsweep.conformance import HeadSuite
from tlsweep.heads.head import NOTHING, Head, Pooling


class TestLinear(HeadSuite):
    name = "linear"


class TestMlp(HeadSuite):
    name = "mlp"


class TestAttention(HeadSuite):
    name = "attention"


class TestConv(HeadSuite):
    name = "conv"


class TestLstm(HeadSuite):
    name = "lstm"


class Classifier(nn.Module):
    """A source's own: the mean of what is there, and one layer."""

    def __init__(self, channels: int, channel_dim: int) -> None:
        super().__init__()
        self.channel_dim, self.last = channel_dim, nn.Linear(channels, 3)

    def forward(self, z: Tensor, side: Mapping[str, Tensor] = NOTHING) -> Tensor:
        z_bnc = z[:, None] if z.ndim == 2 else z.movedim(self.channel_dim, -1).flatten(1, -2)
        there_bn = side.get("mask", torch.ones(z_bnc.shape[:2], dtype=torch.bool))
        z_bnc = z_bnc.masked_fill(~there_bn[..., None], 0)
        outputs: Tensor = self.last(z_bnc.sum(1) / there_bn.sum(1, keepdim=True))
        return outputs


class TestSource(HeadSuite):
    name = "source"

    def head(self, shape: tuple[int, ...], pooling: Pooling, *, scaled: bool = False) -> Head:
        torch.manual_seed(0)
        own = Classifier(shape[pooling.channel_dim - 1], pooling.channel_dim)
        return Head(shape, pooling, 3, kind=self.name, scaled=scaled, own=own).eval()


@pytest.mark.usefixtures("beside")
class TestNormed(HeadSuite):
    name = "normed"
