"""What a head that does not pool first is given: tokens that are there, or maps.

The module of such a head says which it reads: ``READS``, "tokens", "maps" or both. That of a head
on pooled features has no ``READS``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tlsweep.errors import Fault
from tlsweep.registry import component, names

KINDS = {1: "features, pooled already", 2: "tokens", 3: "maps"}
"""By the dimensions of one example's activations."""


def reads(kind: str) -> tuple[str, ...]:
    """What a head reads whole; nothing for one on pooled features."""
    found: Any = getattr(component("head", kind), "READS", ())
    return tuple(found)


def is_own(kind: str) -> bool:
    """Whether the layers of a head are the source's own classifier, and no new ones."""
    return bool(getattr(component("head", kind), "OWN", False))


def kind_of(shape: tuple[int, ...], *, ids: bool) -> str:
    """What activations of this shape, without the batch, are. ids: words as they are read."""
    return "texts as they are read" if ids else KINDS.get(len(shape), "of no kind that is known")


def unread(kind: str, shape: tuple[int, ...], *, ids: bool) -> Fault | None:
    """What is wrong with a head of this kind on such activations."""
    wants, found = reads(kind), kind_of(shape, ids=ids)
    if not wants or found in wants:
        return None
    others = [name for name in names("head") if not is_own(name)]
    fits = [name for name in others if not reads(name) or found in reads(name)]
    return Fault(
        f"train.head={kind} on {'x'.join(map(str, shape))}: {found}",
        f"this head reads {' or '.join(wants)}, before they are pooled",
        " or ".join(f"train.head={name}" for name in fits),
    )


def tokens(z: Tensor, channel_dim: int, mask_bt: Tensor | None) -> tuple[Tensor, Tensor]:
    """Tokens [batch, tokens, channels], those that are there first, zeros after; and their mask.

    Words that a mask leaves out in the middle leave no gap: a head sees what it would see of the
    text without them.
    """
    z_btc = z.movedim(channel_dim, 2)
    if mask_bt is None:
        return z_btc, torch.ones(z_btc.shape[:2], dtype=torch.bool, device=z.device)
    n_tokens = mask_bt.shape[1]
    place_t = torch.arange(n_tokens, device=mask_bt.device)
    # each place once, so that no sort needs to be a stable one: ONNX has none
    order_bt = torch.where(mask_bt, place_t, place_t + n_tokens).argsort(dim=1)
    there_bt = mask_bt.gather(1, order_bt)
    z_btc = z_btc.gather(1, order_bt[..., None].expand_as(z_btc))
    # what is left out may be anything, NaN too
    return z_btc.masked_fill(~there_bt[..., None], 0), there_bt
