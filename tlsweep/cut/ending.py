"""What a model has above its last cut point, its own classifier, for some of its classes alone."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from tlsweep.cut.chain import through
from tlsweep.cut.points import CutPoints
from tlsweep.cut.split import section

LAST = (nn.Linear, nn.Conv2d)
"""Layers of which each output follows from one row of the weights."""


def ending(model: nn.Module, cuts: CutPoints, rows: Sequence[int]) -> nn.Module | None:
    """The part above the last cut point, which answers the classes ``rows`` in that order.

    A copy; of its last layer it holds these rows alone. None where it is not seen to answer them as
    the whole does: its classes come from no one layer.
    """
    whole = section(model, cuts, cuts.n_blocks, None).eval()
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(2, *cuts[-1].shape, generator=draw)
    with torch.no_grad():
        wanted = through(whole, z, {})
        if not isinstance(wanted, Tensor) or wanted.ndim != 2:
            return None
        for name in reversed(list(_layers(whole, wanted.shape[1]))):
            part = copy.deepcopy(whole)
            part.set_submodule(name, _of_rows(part.get_submodule(name), rows))
            if _answers(part, z, wanted[:, list(rows)]):
                return part
    return None


def _layers(whole: nn.Module, n_classes: int) -> Iterator[str]:
    """Paths of the layers that have so many outputs."""
    for name, module in whole.named_modules():
        if isinstance(module, LAST) and name and len(module.weight) == n_classes:
            yield name


def _of_rows(layer: nn.Module, rows: Sequence[int]) -> nn.Module:
    """The layer with these rows of its weights."""
    assert isinstance(layer, LAST)
    layer.weight = nn.Parameter(layer.weight.detach()[list(rows)].clone())
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[list(rows)].clone())
    if isinstance(layer, nn.Linear):
        layer.out_features = len(rows)
    else:
        layer.out_channels = len(rows)
    return layer


def _answers(part: nn.Module, z: Tensor, wanted: Tensor) -> bool:
    try:
        found = through(part, z, {})
    except (RuntimeError, ValueError):  # a layer that others read: shapes fit no more
        return False
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)
