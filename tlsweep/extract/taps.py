"""All cut points in one forward pass, each pooled as its head would pool it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from tlsweep.cut import CalledPart, CutPoints, LeftOut, block_of, folded, through
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
        top = max(indices, default=0)
        self.blocks = nn.ModuleList(
            LeftOut() if i in without else folded(block_of(model, cuts, i, top)) for i in range(top)
        )
        # where no part can start, the tensor is seen while the block below runs on
        held = [i for i in indices if i < top and not cuts[i].starts and i not in without]
        self.inside = {i: cuts[i].value for i in held}
        for part in self.blocks:
            if isinstance(part, CalledPart):
                part.note(self.inside.values())
        taken = [None] * len(indices) if rules is None else rules
        self.rules = dict(zip(indices, taken, strict=True))
        self.eval().to(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(self, x: Tensor, side: Mapping[str, Tensor] = NOTHING) -> list[Tensor]:
        """[batch, ...] inputs, and what rides along, to [batch, features], or whole, a tap."""
        taken, z, noted = [], channels_last(x), dict[str, Tensor]()
        for i in range(len(self.blocks) + 1):
            if i > 0:
                part = self.blocks[i - 1]
                z = through(part, z, side)
                noted |= part.noted() if isinstance(part, CalledPart) else {}
            if i in self.rules:
                rule = self.rules[i]
                here = noted.pop(self.inside[i]) if i in self.inside else z
                taken.append(here if rule is None else pool(here, rule, side))
        return taken
