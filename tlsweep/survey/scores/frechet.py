"""Frechet distance between two sets of features: how far the target is from the source."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tlsweep.survey.scores.checks import checked_features


def frechet_distance(a_nd: Tensor, b_md: Tensor) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (AB)^(1/2)), A and B the covariances; never negative.

    a_nd, b_md: the same d features of n and m examples. In squared units of the features, so it
    compares data sets at one cut point, not cut points with each other; it falls with n and m, so
    compare at equal ones. Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule
    Converge to a Local Nash Equilibrium" (FID).

    The trace of the root is the sum of the singular values of (centred a) (centred b)', which
    are real and not negative whatever the rank: no root of a matrix, and no complex numbers.

    Raises ValueError for numbers of features that differ, fewer than two examples in either, or
    features that are not finite.
    """
    a, b = checked_features(a_nd), checked_features(b_md)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{a.shape[1]} and {b.shape[1]} features; a distance needs the same ones")
    root_a, root_b = _root(a), _root(b)
    apart = float((a.mean(0) - b.mean(0)).square().sum())
    spread = float(root_a.square().sum() + root_b.square().sum())
    shared = float(torch.linalg.svdvals(root_a @ root_b.T).sum())
    return apart + max(0.0, spread - 2 * shared)


def _root(z_nd: Tensor) -> Tensor:
    """R [min(n, d), d] with R'R the covariance."""
    n, d = z_nd.shape
    centred = (z_nd - z_nd.mean(0)) / math.sqrt(n - 1)
    return torch.linalg.qr(centred, mode="r").R if n > d else centred
