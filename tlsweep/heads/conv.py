"""The head "conv": one convolution of width 3 over tokens (Kim 2014) or maps, then pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

READS = ("tokens", "maps")
FILTERS = 128


class OverTokens(nn.Module):
    """What each filter finds most of anywhere in a text, then one layer."""

    def __init__(self, n_channels: int, n_outputs: int) -> None:
        super().__init__()
        self.filters = nn.Conv1d(n_channels, FILTERS, 3, padding=1)
        self.last = nn.Linear(FILTERS, n_outputs)

    def forward(self, z_btc: Tensor, there_bt: Tensor) -> Tensor:
        """[batch, tokens, channels] and which tokens are there, to [batch, outputs]."""
        found_bft = self.filters(z_btc.transpose(1, 2)).relu()
        # at least 0 already: what is not there is never more than what is
        outputs: Tensor = self.last((found_bft * there_bt[:, None]).amax(2))
        return outputs


class OverMaps(nn.Module):
    """How much of each filter there is in a map on average, then one layer."""

    def __init__(self, n_channels: int, n_outputs: int) -> None:
        super().__init__()
        self.filters = nn.Conv2d(n_channels, FILTERS, 3, padding=1)
        self.last = nn.Linear(FILTERS, n_outputs)

    def forward(self, z_bchw: Tensor) -> Tensor:
        """[batch, channels, rows, columns] to [batch, outputs]."""
        outputs: Tensor = self.last(torch.relu(self.filters(z_bchw)).mean((2, 3)))
        return outputs


def layers(n_channels: int, n_outputs: int, reads: str) -> nn.Module:
    """From standardised tokens or maps to [batch, outputs]."""
    over = OverMaps if reads == "maps" else OverTokens
    return over(n_channels, n_outputs)
