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


def fit_ridge(z_nd: Tensor, t_nm: Tensor, penalties: Sequence[float]) -> RidgePath:
    """Linear regression onto m targets, for every penalty.

    Minimises mean over examples of |target - prediction|^2 / 2 + penalty / 2 * |weight|^2, the bias
    unpenalised. z_nd: features; t_nm: numbers, 1 and 0 for what holds and does not.
    Raises ValueError if a penalty is not positive or there are fewer than two examples.
    """
    n = len(z_nd)
    if min(penalties) <= 0 or n < 2:
        raise ValueError(f"penalties {list(penalties)} are above 0, and {n} examples at least two")
    z, t = z_nd.double(), t_nm.double()
    z_mean, t_mean = z.mean(0), t.mean(0)
    u_nr, s_r, v_rd = torch.linalg.svd(z - z_mean, full_matrices=False)
    share_hr = torch.stack([s_r.square() / (s_r.square() + n * p) for p in penalties])
    over_hr = torch.stack([s_r / (s_r.square() + n * p) for p in penalties])
    inner_rm = u_nr.T @ (t - t_mean)
    weight_hdm = v_rd.T @ (over_hr[..., None] * inner_rm)
    bias_hm = t_mean - z_mean @ weight_hdm
    fitted_hnm = u_nr @ (share_hr[..., None] * inner_rm) + t_mean
    leverage_hn = share_hr @ u_nr.square().T + 1 / n  # 1 / n: the bias follows each example, too
    left_out = t - (t - fitted_hnm) / (1 - leverage_hn)[..., None]
    found = torch.ones(len(penalties), dtype=torch.bool, device=z.device)
    heads = Heads(weight_hdm.to(z_nd.dtype), bias_hm.to(z_nd.dtype), found)
    return RidgePath(heads, left_out.to(z_nd.dtype))
