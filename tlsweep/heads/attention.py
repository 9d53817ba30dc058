"""The head "attention": the mean of tokens, each weighted by how it fits one learned query."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

READS = ("tokens",)


class Attention(nn.Module):
    """Attention pooling, then one layer. It begins as the plain mean."""

    def __init__(self, n_channels: int, n_outputs: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(n_channels))
        self.last = nn.Linear(n_channels, n_outputs)

    def forward(self, z_btc: Tensor, there_bt: Tensor) -> Tensor:
        """[batch, tokens, channels] and which tokens are there, to [batch, outputs]."""
        fit_bt = z_btc @ self.query / math.sqrt(len(self.query))
        # not minus infinity: of a text without tokens that would be NaN
        fit_bt = fit_bt.masked_fill(~there_bt, torch.finfo(fit_bt.dtype).min)
        weight_bt = fit_bt.softmax(1) * there_bt
        outputs: Tensor = self.last((weight_bt[..., None] * z_btc).sum(1))
        return outputs


def layers(n_channels: int, n_outputs: int, reads: str) -> nn.Module:
    """From standardised tokens to [batch, outputs]."""
    return Attention(n_channels, n_outputs)
