"""Inner products of features on their smaller side, and their decomposition, computed once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tlsweep.survey.scores.checks import checked_features

ROUNDING = 1e-12  # variation below this share of the whole is the rounding of none
NEGLIGIBLE = 1e-13  # share of the largest squared singular value that counts as zero


@dataclass(frozen=True)
class Spectrum:
    """Features [n, d] as the scores need them; m = min(n, d).

    centred [n, d], mean [d]; products [m, m]: of the centred features, between examples if n <= d
    and between features otherwise. Whichever side, the products have the same spectrum, so that
    no score costs more than the smaller one.
    """

    centred: Tensor
    mean: Tensor
    products: Tensor

    @staticmethod
    def of(z_nd: Features) -> Spectrum:
        """From features [n, d] of any dtype; a Spectrum is handed back as it is.

        Raises ValueError if they are no table of at least two rows, or not finite.
        """
        if isinstance(z_nd, Spectrum):
            return z_nd
        z = checked_features(z_nd)
        mean = z.mean(0)
        centred = z - mean
        # else the rounding of a constant feature would pass for its variation
        constant = centred.norm(dim=0) <= ROUNDING * math.sqrt(len(z)) * mean.abs()
        centred.masked_fill_(constant, 0.0)
        n, d = z.shape
        products = centred @ centred.T if n <= d else centred.T @ centred
        return Spectrum(centred, mean, products)

    @property
    def n(self) -> int:
        """Examples."""
        return self.centred.shape[0]

    @property
    def d(self) -> int:
        """Features."""
        return self.centred.shape[1]

    @property
    def between_examples(self) -> bool:
        """Whether the products are [n, n]."""
        return self.n <= self.d

    @cached_property
    def lengths(self) -> Tensor:
        """|row|^2 of the centred features [n]."""
        return self.centred.square().sum(1)

    @cached_property
    def decomposition(self) -> tuple[Tensor, Tensor]:
        """Squared singular values [m] of the features as given, and the axes [m, m] to them.

        The axes are the left singular vectors if ``between_examples``, else the right ones. The
        mean is put back here, by what it adds to the centred products: taking it off raw products
        would lose digits wherever it is large.
        """
        if self.between_examples:
            shift_n = self.centred @ self.mean
            offset_n = shift_n + self.mean.square().sum() / 2
            raw = self.products + offset_n[:, None] + offset_n
        else:
            raw = self.products + self.n * torch.outer(self.mean, self.mean)
        squares, axes = torch.linalg.eigh(raw)
        return squares.clamp_min(0.0), axes


Features = Tensor | Spectrum
"""Features [n, d], or their Spectrum where several scores share it."""
