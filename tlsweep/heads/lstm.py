"""The head "lstm": tokens read in order, from both ends (one layer each way)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

READS = ("tokens",)
HIDDEN = 64  # numbers that each way ends with


class BothWays(nn.Module):
    """What the last token left of an LSTM forwards, and the first of one backwards; one layer."""

    def __init__(self, n_channels: int, n_outputs: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(n_channels, HIDDEN, batch_first=True)
        self.backwards = nn.LSTM(n_channels, HIDDEN, batch_first=True)
        self.last = nn.Linear(2 * HIDDEN, n_outputs)

    def forward(self, z_btc: Tensor, there_bt: Tensor) -> Tensor:
        """[batch, tokens, channels] and which tokens are there, to [batch, outputs].

        Tokens that are there come first, either way, and nothing after them is looked at.
        """
        end_b1 = there_bt.sum(1, keepdim=True) - 1
        turned_bt = (end_b1 - torch.arange(z_btc.shape[1], device=z_btc.device)).clamp_min(0)
        turned_btc = z_btc.gather(1, turned_bt[..., None].expand_as(z_btc))
        ends = [
            _at(self.forwards(z_btc)[0], end_b1),
            _at(self.backwards(turned_btc)[0], end_b1),
        ]
        outputs: Tensor = self.last(torch.cat(ends, 1))
        return outputs


def _at(h_bth: Tensor, place_b1: Tensor) -> Tensor:
    """The token at a place of each text, [batch, h]; zeros where there is none."""
    index_b1h = place_b1.clamp_min(0)[..., None].expand(-1, 1, h_bth.shape[2])
    return h_bth.gather(1, index_b1h)[:, 0].masked_fill(place_b1 < 0, 0)


def layers(n_channels: int, n_outputs: int, reads: str) -> nn.Module:
    """From standardised tokens to [batch, outputs]."""
    return BothWays(n_channels, n_outputs)
