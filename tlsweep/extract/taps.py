"""All cut points in one forward pass, each pooled as its head would pool it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from tlsweep.cut import CutPoints, LeftOut, folded, section, through
from tlsweep.heads.head import NOTHING, Pooling, pool
from tlsweep.train.network import channels_last


class Taps(nn.Module):
    """A source's blocks in a row, with the pooled tensor taken off at some of its cut points.

    One pass in place of one for each cut point: a block's output is the next one's input. Blocks
    above the highest tap are not run. Evaluates: no graph, BatchNorm and dropout in eval mode, and
    BatchNorm folded into the convolutions (``cut/fold.py``), as a plan's frozen blocks do.

    model: in eval mode; indices: of the cut points, ascending; rules: of each one's head, None to
    take the tensors off whole; without: blocks that are left out.
    """

    def __init__(
        self,
        model: nn.Module,
        cuts: CutPoints,
        indices: Sequence[int],
        rules: Sequence[Pooling] | None,
        without: Collection[int] = (),
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            LeftOut() if i in without else folded(section(model, cuts, i, i + 1))
            for i in range(max(indices, default=0))
        )
        taken = [None] * len(indices) if rules is None else rules
        self.rules = dict(zip(indices, taken, strict=True))
        self.eval().to(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(self, x: Tensor, side: Mapping[str, Tensor] = NOTHING) -> list[Tensor]:
        """[batch, ...] inputs, and what rides along, to [batch, features], or whole, a tap."""
        taken, z = [], channels_last(x)
        for i in range(len(self.blocks) + 1):
            z = z if i == 0 else through(self.blocks[i - 1], z, side)
            if i in self.rules:
                rule = self.rules[i]
                taken.append(z if rule is None else pool(z, rule, side))
        return taken
