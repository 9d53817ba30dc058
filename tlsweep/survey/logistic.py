"""Multinomial logistic regression, many heads on the same features at once, to the optimum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tlsweep.survey.lbfgs import minimise

GAP = 1e-6  # nats that a fitted head's objective is estimated to lie above its minimum
SMALL = 30_000_000  # multiplications of one evaluation that one thread does in milliseconds
CELLS = 8_000_000  # numbers that the logits of one chunk may have: memory does not grow with n


@dataclass(frozen=True)
class Heads:
    """Fitted linear heads: weight [h, d, k] and bias [h, k], for standardised features.

    converged [h]: whether each was estimated within ``GAP`` of its minimum.
    """

    weight: Tensor
    bias: Tensor
    converged: Tensor

    def logits(self, z_nd: Tensor) -> Tensor:
        """[n, d] features to [h, n, k] logits."""
        return torch.einsum("nd,hdk->hnk", z_nd, self.weight) + self.bias[:, None]

    def predictions(self, z_nd: Tensor) -> Tensor:
        """[n, d] features to [h, n] class indices; chunk by chunk."""
        h, _, k = self.weight.shape
        rows = max(1, CELLS // (h * k))
        return torch.cat([self.logits(part).argmax(2) for part in torch.split(z_nd, rows)], dim=1)


def fit_logistic(
    z_nd: Tensor,
    y_n: Tensor,
    n_classes: int,
    penalties: Sequence[float],
    weights_sn: Tensor | None = None,
    *,
    gap: float = GAP,
) -> Heads:
    """One head for every penalty and every weighting of the examples.

    Minimises mean cross-entropy + penalty / 2 * |weight|^2, the bias unpenalised; scikit-learn's
    C is 1 / (n * penalty). z_nd: standardised features; y_n: class indices; weights_sn: s ways to
    weight the examples (a row of zeros and ones is a subset), default one of ones.
    The h = len(penalties) * s heads are ordered by penalty, then by weighting.

    Raises ValueError if a penalty is not positive or a weighting is all zeros.
    """
    if weights_sn is None:
        weights_sn = torch.ones(1, len(z_nd), device=z_nd.device)
    weights_sn = weights_sn.to(z_nd.dtype)
    if min(penalties) <= 0 or bool((weights_sn.sum(1) <= 0).any()):
        raise ValueError(f"penalties {list(penalties)} are above 0, and each weighting counts one")
    z_nr, basis_dr = _rotated(z_nd)
    shares_sn = weights_sn / weights_sn.sum(1, keepdim=True)
    problem = _Problem(
        z_nr, y_n, n_classes, shares_sn.repeat(len(penalties), 1),
        torch.tensor(penalties, device=z_nd.device, dtype=z_nd.dtype)
        .repeat_interleave(len(shares_sn)),
    )  # fmt: skip
    start = torch.zeros(len(problem.penalty), (problem.r + 1) * n_classes, dtype=z_nd.dtype)
    with _few_threads(z_nr.numel() * start.shape[0] * n_classes):
        found = minimise(problem, start.to(z_nd.device), problem.preconditioner(), gap=gap)
    solution = found.points.view(-1, problem.r + 1, n_classes)
    weight = torch.einsum("dr,hrk->hdk", basis_dr, solution[:, :-1])
    return Heads(weight, solution[:, -1], found.converged)


@contextmanager
def _few_threads(products: int) -> Iterator[None]:
    """One thread where an evaluation is so short that threads would wait longer than compute.

    Beside another busy process they were seen to make a survey four times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if products < SMALL else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def together(groups: Sequence[Heads]) -> Heads:
    """Heads of s groups, each ordered by penalty, as one: by penalty, then by group."""

    def interleaved(parts: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(parts), 1).flatten(0, 1)

    return Heads(
        interleaved([g.weight for g in groups]),
        interleaved([g.bias for g in groups]),
        interleaved([g.converged for g in groups]),
    )


def _rotated(z_nd: Tensor) -> tuple[Tensor, Tensor]:
    """Features in the basis of their principal axes, and that basis [d, r], r = min(n, d).

    Exact: a rotation keeps |weight|, and the optimal weight has no part outside the span of the
    examples. There the Hessian is nearly diagonal, and with n < d there is less to compute.
    """
    n, d = z_nd.shape
    if n < d:
        span_dn = torch.linalg.qr(z_nd.T).Q
        z_nd = z_nd @ span_dn
    else:
        span_dn = torch.eye(d, dtype=z_nd.dtype, device=z_nd.device)
    axes = torch.linalg.eigh(z_nd.T @ z_nd).eigenvectors
    return z_nd @ axes, span_dn @ axes if n < d else axes


class _Problem:
    """The objective of all heads: points are [r + 1, k] flattened, the last row the bias."""

    def __init__(
        self, z_nr: Tensor, y_n: Tensor, n_classes: int, shares_hn: Tensor, penalty_h: Tensor
    ) -> None:
        self.z, self.y, self.k = z_nr, y_n, n_classes
        self.shares, self.penalty = shares_hn, penalty_h
        self.r = z_nr.shape[1]

    def preconditioner(self) -> Tensor:
        """The inverse diagonal of each Hessian where all classes are equally likely."""
        k = self.k
        spread_hr = self.shares @ self.z.square()
        likely = (1 - 1 / k) / k
        hessian_hr = likely * spread_hr + self.penalty[:, None]
        bias_h1 = torch.full_like(self.penalty[:, None], likely)
        return 1 / torch.cat([hessian_hr, bias_h1], 1).repeat_interleave(k, 1)

    def __call__(self, which_a: Tensor, points_ap: Tensor) -> tuple[Tensor, Tensor]:
        """Values [a] and gradients [a, p]."""
        a, k = len(which_a), self.k
        weight, bias = points_ap.view(a, -1, k)[:, :-1], points_ap.view(a, -1, k)[:, -1]
        wide_rak = weight.transpose(0, 1).reshape(self.r, a * k)
        value = torch.zeros(a, dtype=torch.float64, device=self.z.device)
        gradient = torch.zeros(self.r, a * k, dtype=self.z.dtype, device=self.z.device)
        gradient_bias = torch.zeros_like(bias)
        rows = max(1, CELLS // (a * k))
        for first in range(0, len(self.z), rows):
            here = slice(first, first + rows)
            logits_nak = (self.z[here] @ wide_rak).view(-1, a, k) + bias
            share_na = self.shares[which_a, here].T
            log_p = functional.log_softmax(logits_nak, 2)
            y_na1 = self.y[here, None, None].expand(-1, a, 1)
            value -= (share_na * log_p.gather(2, y_na1).squeeze(2)).sum(0).double()
            residual = log_p.exp_().scatter_add_(
                2, y_na1, -torch.ones_like(y_na1, dtype=log_p.dtype)
            )
            residual *= share_na[..., None]
            gradient += self.z[here].T @ residual.view(-1, a * k)
            gradient_bias += residual.sum(0)
        penalty = self.penalty[which_a]
        value += 0.5 * penalty * weight.square().sum((1, 2)).double()
        slope = gradient.view(self.r, a, k).transpose(0, 1) + penalty[:, None, None] * weight
        return value, torch.cat([slope, gradient_bias[:, None]], 1).view(a, -1)
