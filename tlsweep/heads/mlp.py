"""The head "mlp": one hidden layer."""

from __future__ import annotations

from torch import nn

HIDDEN = 128  # width of the hidden layer


def layers(n_features: int, n_outputs: int) -> nn.Module:
    """From standardised features [batch, features] to [batch, outputs]."""
    return nn.Sequential(nn.Linear(n_features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, n_outputs))
