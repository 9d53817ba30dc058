"""Linear CKA: how alike two sets of features of the same examples are."""

from __future__ import annotations

import math
from collections.abc import Callable

from tlsweep.survey.scores.spectrum import ROUNDING, Features, Spectrum

Alike = Callable[[Spectrum, Spectrum], float]


def linear_cka(a_nd: Features, b_ne: Features) -> float:
    """Linear centred kernel alignment of two sets of features of the same n examples, 0..1.

    1 for features that differ by a rotation, a shift and one scale; 0 if one does not vary.
    Kornblith, Norouzi, Lee and Hinton 2019, "Similarity of Neural Network Representations
    Revisited". For n below d and e it comes near 1 even for unrelated features: use
    ``unbiased_linear_cka`` there.

    Raises ValueError for lengths that differ, fewer than two examples, or features that are not
    finite.
    """
    return _alignment(*_paired(a_nd, b_ne, least=2), _hsic)


def unbiased_linear_cka(a_nd: Features, b_ne: Features) -> float:
    """The same with the unbiased estimate of HSIC, -1..1: about 0 for unrelated features.

    Needed here: a cut point often has more features than the target has examples, where two sets
    of noise have a biased CKA near 1 (.93 for n = 100, d = 1280). Song et al. 2012, "Feature
    Selection via Dependence Maximization"; for CKA in Nguyen, Raghu and Kornblith 2021, "Do Wide
    and Deep Networks Learn the Same Things?".

    Raises ValueError for lengths that differ, fewer than four examples, or features that are not
    finite.
    """
    return _alignment(*_paired(a_nd, b_ne, least=4), _unbiased_hsic)


def _paired(a_nd: Features, b_ne: Features, least: int) -> tuple[Spectrum, Spectrum]:
    a = Spectrum.of(a_nd)
    b = a if b_ne is a_nd else Spectrum.of(b_ne)
    if a.n != b.n:
        raise ValueError(f"features of {a.n} and {b.n} examples; CKA compares the same ones")
    if a.n < least:
        raise ValueError(f"features of {a.n} examples; this score needs at least {least}")
    return a, b


def _alignment(a: Spectrum, b: Spectrum, alike: Alike) -> float:
    own_a, own_b = alike(a, a), alike(b, b)
    if own_a <= ROUNDING * _hsic(a, a) or own_b <= ROUNDING * _hsic(b, b):
        return 0.0  # nothing varies, or (unbiased) only one example does
    return max(-1.0, min(1.0, alike(a, b) / math.sqrt(own_a * own_b)))


def _hsic(a: Spectrum, b: Spectrum) -> float:
    """Sum over pairs of examples of the product of both centred kernels, in the cheaper space."""
    if a is b:
        return float(a.products.square().sum())
    if a.between_examples and b.between_examples:
        return float((a.products * b.products).sum())
    return float((a.centred.T @ b.centred).square().sum())


def _unbiased_hsic(a: Spectrum, b: Spectrum) -> float:
    """Song et al.'s HSIC_1 times n (n - 3), which cancels in CKA.

    Their kernels have a zero diagonal. Of centred features the rows of the full kernel sum to
    zero, so the sums over it that they ask for are sums over its diagonal alone.
    """
    n = a.n
    diagonals = float((a.lengths * b.lengths).sum())
    traces = float(a.lengths.sum() * b.lengths.sum())
    return _hsic(a, b) - n / (n - 2) * diagonals + traces / ((n - 1) * (n - 2))
