"""H-score: the share of the features' variance that lies between the classes."""

from __future__ import annotations

import torch
from torch import Tensor

from tlsweep.survey.scores.checks import checked_classes, class_sums
from tlsweep.survey.scores.spectrum import Features, Spectrum

# Share of the whole covariance that is added to its diagonal. As it goes to zero the inverse goes
# to the pseudo-inverse on all that lies in the features' span, and the class means do; above the
# rounding of the products it only drops directions that cannot be told from none.
PSEUDO = 1e-10


def h_score(z_nd: Features, y_n: Tensor) -> float:
    """tr(cov(z)^+ cov(E[z | y])), between 0 and classes - 1; higher is better.

    z_nd: features [n, d]; y_n: class indices [n]. Without unit; the pseudo-inverse takes
    directions with less than 1e-10 of the variance for none.
    Bao, Li, Huang, Zhang, Zheng, Zamir and Guibas 2019, "An Information-Theoretic Approach to
    Transferability in Task Transfer Learning". For n <= d it is classes - 1 for nearly any
    features, noise included: use ``shrunk_h_score``.

    Raises ValueError for fewer than two examples, features that are not finite, a single class, or
    lengths that differ.
    """
    spectrum = Spectrum.of(z_nd)
    return _explained(spectrum, checked_classes(y_n, spectrum.n, spectrum.centred.device), 0.0)


def shrunk_h_score(z_nd: Features, y_n: Tensor) -> float:
    """(1 - a) tr(cov_a(z)^-1 cov(E[z | y])), a: Ledoit and Wolf's shrinkage; higher is better.

    z_nd: features [n, d]; y_n: class indices [n]. Between 0 and classes - 1, and near ``h_score``
    for n >> d. This is the one to show: the features of one backbone have from a few dozen to a
    few thousand dimensions, and targets are small. A covariance from few examples has many
    near-zero eigenvalues, whose inverse lets noise separate the classes the better the more
    dimensions there are, so that the plain score ranks cut points by their width.
    Ibrahim, Ponomareva and Mazumder 2022, "Newer is not always better: Rethinking transferability
    metrics, their peculiarities, stability and performance".

    Raises ValueError for fewer than two examples, features that are not finite, a single class, or
    lengths that differ.
    """
    spectrum = Spectrum.of(z_nd)
    y = checked_classes(y_n, spectrum.n, spectrum.centred.device)
    return _explained(spectrum, y, shrinkage(spectrum))


def shrinkage(spectrum: Spectrum) -> float:
    """Ledoit and Wolf's (2004) weight of the identity against the covariance, 0..1.

    From products that are there already, on either side: scikit-learn's ``ledoit_wolf`` forms two
    [d, d] products for it, which would cost as much as all other scores together.
    """
    n, d = spectrum.n, spectrum.d
    trace = float(spectrum.lengths.sum()) / n
    square = float(spectrum.products.square().sum()) / n**2  # |covariance|^2
    spread = square - trace**2 / d  # of the eigenvalues about their mean
    error = (float(spectrum.lengths.square().sum()) / n - square) / n
    if d == 1 or spread <= 0 or error <= 0:  # one feature: ``spread`` is zero but for rounding
        return 0.0
    return min(1.0, error / spread)


def _explained(spectrum: Spectrum, y_n: Tensor, shrink: float) -> float:
    """(1 - shrink) tr(cov^-1 cov of the class means), by one Cholesky on the smaller side."""
    n = spectrum.n
    covariance = spectrum.products / n  # or, between examples, a matrix of the same eigenvalues
    size = float(covariance.norm())
    if size == 0:
        return 0.0  # constant features tell no class from another
    counts_c = y_n.bincount()
    y_present = (counts_c > 0).cumsum(0)[y_n] - 1
    counts_c = counts_c[counts_c > 0].to(covariance)
    if spectrum.between_examples:
        # v'(Z'Z + r)^-1 v = p'ZZ'(ZZ' + r)^-1 p for a class mean v = Z'p
        p_nc = torch.zeros(n, len(counts_c)).to(covariance)
        p_nc[torch.arange(n, device=p_nc.device), y_present] = 1 / counts_c[y_present]
        means, duals = spectrum.products @ p_nc, p_nc
    else:
        means = duals = (class_sums(spectrum.centred, y_present) / counts_c[:, None]).T
    ridge = shrink * float(spectrum.lengths.sum()) / (n * spectrum.d) + PSEUDO * size
    covariance = (1 - shrink) * covariance
    covariance.diagonal().add_(ridge)
    solved = torch.cholesky_solve(means, torch.linalg.cholesky(covariance))
    return (1 - shrink) * float(((duals * solved).sum(0) * counts_c).sum()) / n
