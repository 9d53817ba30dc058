"""The head "mlp": one hidden layer, or several (``train.head_sizes``)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

SIZES = (128,)  # widths of the hidden layers where nothing is said


def layers(n_features: int, n_outputs: int, sizes: Sequence[int] = SIZES) -> nn.Module:
    """From standardised features [batch, features] to [batch, outputs]."""
    widths = [n_features, *sizes]
    hidden = [
        layer
        for low, high in itertools.pairwise(widths)
        for layer in (nn.Linear(low, high), nn.ReLU())
    ]
    return nn.Sequential(*hidden, nn.Linear(widths[-1], n_outputs))
