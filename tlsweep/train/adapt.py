"""Low-rank additions to the weights of frozen layers (LoRA, Hu et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tlsweep.cut import matrices


class LowRank(nn.Module):
    """``weight + scale * up @ down``, where ``down`` has few rows: a parametrization of torch.

    It begins as nothing (``up`` is zero), so that an adapted layer starts as the source's layer.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        outputs, inputs = len(weight), weight[0].numel()
        rank = min(rank, outputs, inputs)
        self.scale = scale
        self.down = nn.Parameter(weight.new_empty(rank, inputs))
        self.up = nn.Parameter(weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that is used, of the shape of ``weight``."""
        return weight + (self.scale * self.up @ self.down).view_as(weight)


def adapt(
    blocks: Sequence[nn.Module], adapted: Collection[int], rank: int, scale: float, seed: int
) -> None:
    """Give the layers of some blocks low-rank additions, drawn from ``seed`` alone.

    blocks: of a network; adapted: which of them. A layer that another block uses too stays as it
    is. Leaves the global random state as it was.
    """
    others = [block for i, block in enumerate(blocks) if i not in adapted]
    shared = {id(module) for block in others for module in block.modules()}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for i in sorted(adapted):
            for module, name in list(matrices(blocks[i])):
                if id(module) in shared or parametrize.is_parametrized(module, name):
                    continue
                addition = LowRank(getattr(module, name), rank, scale)
                parametrize.register_parametrization(module, name, addition)


def additions(block: nn.Module) -> Iterator[nn.Parameter]:
    """What is trained of an adapted block."""
    for module in block.modules():
        if isinstance(module, LowRank):
            yield from (module.up, module.down)


def merge(block: nn.Module) -> None:
    """Make each addition part of its weight: the same outputs, from layers as they were before."""
    for module in list(block.modules()):
        if isinstance(module, nn.Module) and parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
