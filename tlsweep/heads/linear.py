"""The head "linear": one layer. On frozen blocks alone it is fitted to its optimum."""

from __future__ import annotations

from torch import nn


def layers(n_features: int, n_outputs: int) -> nn.Module:
    """From standardised features [batch, features] to [batch, outputs]."""
    return nn.Linear(n_features, n_outputs)
