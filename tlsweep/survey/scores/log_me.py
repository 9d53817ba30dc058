"""LogME: how well a Bayesian linear head could explain the targets, without fitting one."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tlsweep.survey.scores.checks import checked_classes, checked_features, class_sums
from tlsweep.survey.scores.spectrum import NEGLIGIBLE, Features, Spectrum

WIDEST = 1e10  # noise to prior ratios searched: up to this factor about the largest eigenvalue
GRID = 129  # ratios tried before the best one is refined
GOLDEN = (math.sqrt(5) - 1) / 2
REFINEMENTS = 24  # golden sections: leave 1e-5 of a grid step, 1e-10 of the evidence

Project = Callable[[Tensor], Tensor]
"""Rows [n, x] to targets' inner products with them [k, x]."""


def log_me(z_nd: Features, y_n: Tensor, n_classes: int) -> float:
    """Log evidence per example, in nats, of linear regression onto one-hot classes; mean of them.

    z_nd: features [n, d]; y_n: class indices [n] below ``n_classes``. Higher is better; defined up
    to a constant of the task, so it compares features on the same examples, not tasks. A class
    without an example has no evidence and does not count.

    You, Liu, Wang and Long 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer
    Learning". As there, the model has no bias and its noise (1 / beta) and prior (1 / alpha)
    maximise the evidence of each class. The paper's fixed point, also the faster one of You et
    al. 2022 ("Ranking and Tuning Pre-trained Models"), ends at a local maximum and may crawl
    where the features say nothing. Here beta is maximised in closed form, which leaves a function
    of alpha / beta alone, and that is searched over 20 decades for all classes at once: the
    maximum itself, the same whatever the unit of the features.

    Raises ValueError for fewer than two examples, features that are not finite, a single class, a
    class of ``n_classes`` or more, or lengths that differ.
    """
    spectrum = Spectrum.of(z_nd)
    y = checked_classes(y_n, spectrum.n, spectrum.centred.device)
    if int(y.max()) >= n_classes:
        raise ValueError(f"class {int(y.max())}; with {n_classes} classes indices are below that")
    counts = y.bincount()
    seen = counts > 0
    return _evidence(
        spectrum, lambda rows: class_sums(rows, y)[seen], counts[seen].to(spectrum.centred)
    )


def log_me_numeric(z_nd: Features, t_nk: Tensor) -> float:
    """The same for numeric targets [n] or [n, k]: mean of the log evidence over the k targets.

    The model has no bias: standardise targets whose mean is far from zero, else the features have
    to explain that mean. A target's unit shifts the score by a constant.

    Raises ValueError for fewer than two examples, values that are not finite, targets that are all
    the same, or lengths that differ.
    """
    spectrum = Spectrum.of(z_nd)
    t = checked_features(t_nk[:, None] if t_nk.ndim == 1 else t_nk, what="targets")
    if len(t) != spectrum.n:
        raise ValueError(f"{len(t)} targets for {spectrum.n} rows of features; one for each")
    t = t.to(spectrum.centred.device)
    constant = (t == t[0]).all(0).nonzero().flatten().tolist()
    if constant:
        raise ValueError(f"targets {constant} are the same for all examples; they must vary")
    return _evidence(spectrum, lambda rows: t.T @ rows, t.square().sum(0))


def _evidence(spectrum: Spectrum, project: Project, lengths_k: Tensor) -> float:
    """Mean over targets of the maximised log evidence per example. lengths_k: |target|^2."""
    squares_m, _ = spectrum.decomposition
    parts_km = _coordinates(spectrum, project).square()
    rest_k = (lengths_k - parts_km.sum(1)).clamp_min(0.0)  # outside the features' span
    top = float(squares_m.max()) or 1.0
    ends = math.log(WIDEST)
    logs_g = torch.linspace(-ends, ends, GRID, dtype=squares_m.dtype, device=squares_m.device)
    # one row of ratios for all targets: what belongs to the ratio alone is computed once
    ratio_g1 = (top * logs_g.exp())[:, None]
    missed_gk = (ratio_g1 / (ratio_g1 + squares_m)) @ parts_km.T + rest_k
    volume_g1 = torch.log1p(squares_m / ratio_g1).sum(1, keepdim=True)
    best_k = logs_g[_profile(missed_gk, volume_g1, spectrum.n).argmax(0)]

    def at(logs_k: Tensor) -> Tensor:
        ratio_k1 = (top * logs_k.exp())[:, None]
        missed_k = (parts_km * (ratio_k1 / (ratio_k1 + squares_m))).sum(1) + rest_k
        return _profile(missed_k, torch.log1p(squares_m / ratio_k1).sum(1), spectrum.n)

    step = float(logs_g[1] - logs_g[0])
    return float(_highest(at, best_k - step, best_k + step).mean())


def _coordinates(spectrum: Spectrum, project: Project) -> Tensor:
    """Targets along the left singular vectors [k, m]."""
    squares_m, axes_mm = spectrum.decomposition
    if spectrum.between_examples:
        return project(axes_mm)
    one_n1 = torch.ones_like(spectrum.lengths)[:, None]
    inner_kd = project(spectrum.centred) + project(one_n1) * spectrum.mean
    real = squares_m > NEGLIGIBLE * squares_m.max()
    # collinear features: their axes are no singular vectors, and explain nothing
    return torch.where(real, inner_kd @ axes_mm / squares_m.clamp_min(1e-300).sqrt(), 0.0)


def _profile(missed: Tensor, volume: Tensor, n: int) -> Tensor:
    """Log evidence per example at the best beta, which is n / missed.

    missed: |target - fit|^2 + alpha / beta |weight|^2; volume: log determinant of the targets'
    covariance over that of the noise.
    """
    return 0.5 * (torch.log(n / missed) - volume / n - 1 - math.log(2 * math.pi))


def _highest(of: Callable[[Tensor], Tensor], low_k: Tensor, high_k: Tensor) -> Tensor:
    """The maxima of k functions between ``low`` and ``high`` by golden section (Kiefer 1953)."""
    left_k, right_k = high_k - GOLDEN * (high_k - low_k), low_k + GOLDEN * (high_k - low_k)
    of_left, of_right = of(left_k), of(right_k)
    for _ in range(REFINEMENTS):
        lower = of_left > of_right  # the maximum lies below ``right``
        low_k, high_k = torch.where(lower, low_k, left_k), torch.where(lower, right_k, high_k)
        kept, of_kept = torch.where(lower, left_k, right_k), torch.where(lower, of_left, of_right)
        width = GOLDEN * (high_k - low_k)
        fresh = torch.where(lower, high_k - width, low_k + width)
        of_fresh = of(fresh)
        left_k, right_k = torch.where(lower, fresh, kept), torch.where(lower, kept, fresh)
        of_left = torch.where(lower, of_fresh, of_kept)
        of_right = torch.where(lower, of_kept, of_fresh)
    return torch.maximum(of_left, of_right)
