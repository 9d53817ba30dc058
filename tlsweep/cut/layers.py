"""What the layers of each block are: those that a low-rank addition fits, and the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from tlsweep.cut.points import CutPoints

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class BlockLayers:
    """The layers of one block that have parameters.

    shapes: (outputs, inputs) of the weights that a low-rank addition fits, as matrices; others: how
    many layers it does not fit (grouped convolutions, norms, embeddings).
    """

    shapes: tuple[tuple[int, int], ...]
    others: int

    def added(self, rank: int) -> int:
        """How many numbers additions of this rank hold."""
        return sum(min(rank, o, i) * (o + i) for o, i in self.shapes)


def block_layers(model: nn.Module, cuts: CutPoints) -> tuple[BlockLayers, ...]:
    """The layers of every block of ``model``, from the input up."""
    # looked at, not run: where a block begins that no part can start with, too
    parts = (cuts.anatomy.part(model, a.value, b.value) for a, b in pairwise(cuts))
    return tuple(map(_layers, parts))


def _layers(block: nn.Module) -> BlockLayers:
    fit = list(matrices(block))
    shapes = tuple((len(w), w[0].numel()) for m, name in fit for w in [getattr(m, name)])
    inside = {id(module) for module, _ in fit}
    having = [m for m in block.modules() if list(m.parameters(recurse=False))]
    return BlockLayers(shapes, sum(id(m) not in inside for m in having))


def matrices(block: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The weights that are used as one matrix, as (layer, name of its weight), each layer once.

    Those of linear layers, of ungrouped convolutions, and of attention, whose queries, keys and
    values are one linear layer.
    """
    for module in block.modules():
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            name = "in_proj_weight"
        elif isinstance(module, nn.Linear) or (
            isinstance(module, _CONVOLUTIONS) and module.groups == 1
        ):
            name = "weight"
        else:
            continue
        if name not in module._buffers:  # a layer of another part stands empty in it (called.py)
            yield module, name
