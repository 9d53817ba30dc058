"""Laws that hold for every network: each cut composes back to the source."""

from __future__ import annotations

import networks
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tlsweep.cut import cut_points, section, split


class Skip(nn.Module):
    """``x + inner(x)``, or their concatenation halved."""

    def __init__(self, inner: nn.Module, *, dense: bool) -> None:
        super().__init__()
        self.inner = inner
        self.dense = dense

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        if self.dense:
            return torch.cat([x, y], dim=1)[:, ::2]
        return x + y


class Scale(nn.Module):
    """Multiplies in place by a parameter expanded over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([[1.5], [0.5], [2.0], [1.0]]).reshape(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(self.scale.expand(x.shape[0], -1, -1, -1)) if x.dim() == 4 else x


LEAVES = st.sampled_from(
    [
        lambda: nn.Conv2d(4, 4, 3, padding=1),
        lambda: nn.Conv2d(4, 4, 1, groups=2),
        lambda: nn.BatchNorm2d(4),
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.ReLU(inplace=True),
        lambda: nn.GELU(),
        lambda: nn.Dropout(0.5),
        lambda: nn.MaxPool2d(3, 1, 1),
        lambda: nn.Identity(),
        lambda: networks.Residual(4, inplace=True),
        lambda: networks.LooksAtValues(),
    ]
).map(lambda make: make())


def grow(parts: st.SearchStrategy[nn.Module]) -> st.SearchStrategy[nn.Module]:
    row = st.lists(parts, min_size=1, max_size=3).map(lambda inner: nn.Sequential(*inner))
    # a convolution first: in-place work inside must not reach what the skip adds
    guarded = row.map(lambda inner: nn.Sequential(nn.Conv2d(4, 4, 1), inner, Scale()))
    return row | st.builds(lambda inner, dense: Skip(inner, dense=dense), guarded, st.booleans())


BODIES = st.lists(st.recursive(LEAVES, grow, max_leaves=8), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(body=BODIES, level=st.sampled_from(["block", "fine"]), batch=st.integers(1, 4))
@torch.no_grad()
def test_every_cut_of_every_network_composes_back_to_the_source(
    body: list[nn.Module], level: str, batch: int
) -> None:
    parts = [*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    model = networks.unlike_fresh(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *parts))
    cuts = cut_points(model, torch.empty(2, 3, 7, 6), level=level)
    x = torch.randn(batch, 3, 7, 6)
    expected = model(x)
    z = x
    for cut in cuts:
        prefix, suffix = split(model, cut)
        alone = prefix(x)
        assert alone.shape == (batch, *cut.shape)
        assert torch.equal(suffix(alone), expected)
        if cut.index:
            z = section(model, cuts, cut.index - 1, cut)(z)
        assert torch.equal(z, prefix(x))
    assert len(set(cuts.names)) == len(cuts)
