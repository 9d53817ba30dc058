"""Dropout in front of a head's last layer, whatever its other layers are (``train.dropout``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tlsweep.errors import Fault, Refusal

LAST = (nn.Linear, nn.Conv2d)


@dataclass(frozen=True)
class Drop:
    """A hook, and no layer: the names of a head's weights are the same with it and without."""

    share: float

    def __call__(self, layer: nn.Module, given: tuple[Any, ...]) -> tuple[Tensor, ...]:
        """What the layer is given, with this share of it set to 0 in training."""
        return (functional.dropout(given[0], self.share, layer.training), *given[1:])


def drop_before_last(layers: nn.Module, share: float, kind: str) -> None:
    """Let a head's last layer be given what dropout leaves. Raises Refusal where it has none."""
    found = [module for module in layers.modules() if isinstance(module, LAST)]
    if not found:
        rule = f"dropout comes before a linear layer, the last one; train.head={kind} has none"
        raise Refusal(Fault(f"train.dropout={share:g}", rule, "train.dropout=0"))
    found[-1].register_forward_pre_hook(Drop(share))
