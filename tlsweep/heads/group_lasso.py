"""Which features a linear head needs: one head with a group lasso, a group a feature."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SHARE = 0.1  # of the penalty from which on no feature is taken
STEPS = 200
BEGIN = 4  # features that are looked at first, an example
ROUNDS = 5
Link = Callable[[Tensor], Tensor]
LINKS: dict[str, tuple[Link, float]] = {
    "classes": (lambda eta: eta.softmax(1), 0.5),
    "labels": (torch.sigmoid, 0.25),
    "numbers": (lambda eta: eta, 1.0),
}
"""By the kind of a task: from outputs to what is expected, and the most that it rises by."""


def relevance(z_nd: Tensor, t_nk: Tensor, kind: str, weights: Tensor | None = None) -> Tensor:
    """How much each feature counts, [d], the order of which is all that it says.

    The L2 norm of its weights where a head with a group lasso over features is at its optimum
    (Evci et al. 2022). Features that it leaves out come after those, by how near they are to being
    taken. t_nk: what is true as numbers; weights: what each example counts, [n] or [n, k].
    """
    norm_d, slope_d = _norms(z_nd, t_nk, kind, weights)
    taken = norm_d > 0
    left = slope_d / slope_d.max().clamp_min(1e-12)  # at most 1: less than any that is taken
    return torch.where(taken, 1 + norm_d, left)


def group_lasso(
    z_nd: Tensor, t_nk: Tensor, kind: str, penalty: float, weights_n1: Tensor, steps: int = STEPS
) -> tuple[Tensor, Tensor]:
    """The weights [d, k] and bias [k] that minimise mean loss + penalty * sum of |weights_d|.

    The loss is that of the kind: cross-entropy of classes or labels, half the squared error of
    numbers. The bias is free. By accelerated proximal steps (Beck and Teboulle 2009).
    """
    link, curvature = LINKS[kind]
    n = len(z_nd)
    x_nq = torch.cat([z_nd, torch.ones_like(z_nd[:, :1])], 1)
    step = n / (curvature * _top(x_nq) * float(weights_n1.max()))
    b_qk = ahead_qk = x_nq.new_zeros(x_nq.shape[1], t_nk.shape[1])
    pace = 1.0
    for _ in range(steps):
        off_nk = weights_n1 * (link(x_nq @ ahead_qk) - t_nk)
        moved_qk = ahead_qk - step / n * (x_nq.T @ off_nk)
        size_d1 = moved_qk[:-1].norm(dim=1, keepdim=True).clamp_min(1e-12)
        shrunk_dk = moved_qk[:-1] * (1 - step * penalty / size_d1).clamp_min(0)
        new_qk = torch.cat([shrunk_dk, moved_qk[-1:]])
        faster = (1 + (1 + 4 * pace**2) ** 0.5) / 2
        ahead_qk = new_qk + (pace - 1) / faster * (new_qk - b_qk)
        if float(((ahead_qk - new_qk) * (new_qk - b_qk)).sum()) < 0:  # it turned: begin anew
            ahead_qk, faster = new_qk, 1.0
        b_qk, pace = new_qk, faster
    return b_qk[:-1], b_qk[-1]


def _norms(z_nd: Tensor, t_nk: Tensor, kind: str, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Of each feature the norm of its weights, and of the slope of the loss along them.

    Most features are taken by no optimum: it is sought among those along which the loss falls most,
    and again with those that turn out to be missed.
    """
    t_nk = t_nk.to(z_nd.dtype)
    if kind == "numbers":  # of any size
        t_nk = (t_nk - t_nk.mean(0)) / t_nk.std(0).clamp_min(1e-12)
    w_n1 = torch.ones_like(z_nd[:, :1]) if weights is None else weights.to(z_nd.dtype)
    w_n1 = w_n1[:, None] if w_n1.ndim == 1 else w_n1
    n, mean_k = len(z_nd), (w_n1 * t_nk).sum(0) / (w_n1 * torch.ones_like(t_nk)).sum(0)
    slope_d = (z_nd.T @ (w_n1 * (mean_k - t_nk)) / n).norm(dim=1)
    penalty, norm_d = SHARE * float(slope_d.max()), torch.zeros_like(slope_d)
    active = slope_d.argsort(descending=True, stable=True)[: BEGIN * n]
    for _ in range(ROUNDS):
        weight_dk, bias_k = group_lasso(z_nd[:, active], t_nk, kind, penalty, w_n1)
        off_nk = w_n1 * (LINKS[kind][0](z_nd[:, active] @ weight_dk + bias_k) - t_nk)
        norm_d = torch.zeros_like(slope_d).index_copy(0, active, weight_dk.norm(dim=1))
        slope_d = (z_nd.T @ off_nk / n).norm(dim=1)
        wrong_d = slope_d > 1.01 * penalty  # left out, and it would lower the loss
        wrong_d[active] = False
        if not bool(wrong_d.any()):
            break
        active = torch.cat([active, wrong_d.nonzero()[:, 0]])
    return norm_d, slope_d


def _top(x_nq: Tensor) -> float:
    """The largest eigenvalue of the features' squares."""
    small = x_nq @ x_nq.T if len(x_nq) <= x_nq.shape[1] else x_nq.T @ x_nq
    return float(torch.linalg.eigvalsh(small)[-1])
