"""Ridge regression: the whole path of penalties and exact leave-one-out from one decomposition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tlsweep.heads.logistic import Heads


@dataclass(frozen=True)
class RidgePath:
    """Heads, one for each penalty.

    left_out [h, n, m]: what each predicts for every example when fitted to all others (Allen 1974,
    "PRESS"; exact, from the leverages).
    """

    heads: Heads
    left_out: Tensor


def fit_ridge(
    z_nd: Tensor, t_nm: Tensor, penalties: Sequence[float], weights_n: Tensor | None = None
) -> RidgePath:
    """Linear regression onto m targets, for every penalty.

    Minimises mean over examples of |target - prediction|^2 / 2 + penalty / 2 * |weight|^2, the bias
    unpenalised. z_nd: features; t_nm: numbers, 1 and 0 for what holds and does not; weights_n: what
    each example counts in that mean, or [n, m], each of its targets; default all the same.
    Raises ValueError if a penalty is not positive or there are fewer than two examples.
    """
    if min(penalties) <= 0 or len(z_nd) < 2:
        raise ValueError(
            f"penalties {list(penalties)} are above 0, and {len(z_nd)} examples at least two"
        )
    if weights_n is None or weights_n.ndim == 1:
        return _path(z_nd, t_nm, penalties, weights_n)
    # each target by itself: another weighting is another decomposition
    paths = [
        _path(z_nd, t_n[:, None], penalties, w_n)
        for t_n, w_n in zip(t_nm.T, weights_n.T, strict=True)
    ]
    heads = Heads(
        torch.cat([path.heads.weight for path in paths], 2),
        torch.cat([path.heads.bias for path in paths], 1),
        paths[0].heads.converged,
    )
    return RidgePath(heads, torch.cat([path.left_out for path in paths], 2))


def _path(
    z_nd: Tensor, t_nm: Tensor, penalties: Sequence[float], weights_n: Tensor | None
) -> RidgePath:
    """All targets with one weighting: rows are scaled by the root of what they count."""
    z, t = z_nd.double(), t_nm.double()
    w_n1 = torch.ones_like(z[:, :1]) if weights_n is None else weights_n.double()[:, None]
    n, root_n1 = float(w_n1.sum()), w_n1.sqrt()
    z_mean, t_mean = (w_n1 * z).sum(0) / n, (w_n1 * t).sum(0) / n
    u_nr, s_r, v_rd = torch.linalg.svd(root_n1 * (z - z_mean), full_matrices=False)
    share_hr = torch.stack([s_r.square() / (s_r.square() + n * p) for p in penalties])
    over_hr = torch.stack([s_r / (s_r.square() + n * p) for p in penalties])
    inner_rm = u_nr.T @ (root_n1 * (t - t_mean))
    weight_hdm = v_rd.T @ (over_hr[..., None] * inner_rm)
    bias_hm = t_mean - z_mean @ weight_hdm
    fitted_hnm = z @ weight_hdm + bias_hm[:, None]
    # w / n: the bias follows each example, too
    leverage_hn = share_hr @ u_nr.square().T + w_n1[:, 0] / n
    left_out = t - (t - fitted_hnm) / (1 - leverage_hn)[..., None]
    found = torch.ones(len(penalties), dtype=torch.bool, device=z.device)
    heads = Heads(weight_hdm.to(z_nd.dtype), bias_hm.to(z_nd.dtype), found)
    return RidgePath(heads, left_out.to(z_nd.dtype))
