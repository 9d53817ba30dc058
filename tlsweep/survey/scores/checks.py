"""What every score asks of its input, and the sums over classes that several of them need."""

from __future__ import annotations

import torch
from torch import Tensor


def checked_features(z_nd: Tensor, least: int = 2, what: str = "features") -> Tensor:
    """[n, d] features in float64.

    Raises ValueError if they are no table, have fewer than ``least`` rows, or are not finite.
    """
    if z_nd.ndim != 2 or z_nd.shape[1] == 0:
        raise ValueError(f"{what} are a table [n, d]; got shape {tuple(z_nd.shape)}")
    if len(z_nd) < least:
        raise ValueError(f"{what} of {len(z_nd)} examples; this score needs at least {least}")
    z = z_nd.detach().double()
    wrong = int((~torch.isfinite(z)).sum())
    if wrong:
        raise ValueError(f"{wrong} of {z.numel()} {what} are NaN or infinite; all must be finite")
    return z


def checked_classes(y_n: Tensor, n: int, device: torch.device) -> Tensor:
    """[n] class indices as int64 on ``device``.

    Raises ValueError if they are not one index for each of the n examples, or all the same.
    """
    if y_n.shape != (n,):
        raise ValueError(f"classes are one index for each of {n} rows; got {tuple(y_n.shape)}")
    if y_n.is_floating_point() or y_n.is_complex():
        raise ValueError(f"classes are whole numbers; got {y_n.dtype}")
    y = y_n.to(device, torch.int64)
    low, high = int(y.min()), int(y.max())
    if low < 0:
        raise ValueError(f"class {low}; class indices count from 0")
    if low == high:
        raise ValueError(f"all {n} examples are of class {low}; a score needs two classes")
    return y


def class_sums(rows_nx: Tensor, y_n: Tensor) -> Tensor:
    """[n, x] rows summed within each class: [c, x], c = the largest class + 1."""
    sums_cx = rows_nx.new_zeros(int(y_n.max()) + 1, rows_nx.shape[1])
    return sums_cx.index_add_(0, y_n, rows_nx)
