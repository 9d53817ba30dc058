"""The new layers on top of what is kept: pool, standardise, classify."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tlsweep.errors import Refusal
from tlsweep.heads import whole
from tlsweep.heads.dropout import drop_before_last
from tlsweep.registry import component

INPUT_GRID = 16  # raw pixels are averaged to at most this many rows and columns
LAST = (-1,)  # of the tokens that are there, the last one
BAG = 4096  # tokens are counted in at most this many kinds


NOTHING: Mapping[str, Tensor] = {}


@dataclass(frozen=True)
class Pooling:
    """How the activations of a cut point are made one vector an example.

    channel_dim: their dimension of channels, batch counted; grid: rows and columns, at most, that
    maps are averaged to; tokens: which of the tokens are averaged, None for all, ``LAST`` for the
    last one that is there; bag: of tokens as they are read, how many kinds they are counted in,
    None for activations.
    """

    channel_dim: int
    grid: int
    tokens: tuple[int, ...] | None = None
    bag: int | None = None


def pool(z: Tensor, rule: Pooling, side: Mapping[str, Tensor] = NOTHING) -> Tensor:
    """Activations [batch, ...] of a cut point as one vector an example: [batch, features].

    Maps (two dimensions besides batch and channels) are averaged to a grid, tokens (one) to their
    mean or that of some, anything else to its mean. What is [batch, features] stays as it is.
    side: with a ``mask``, bool [batch, tokens], tokens that it leaves out do not count.
    """
    if rule.bag is not None:
        return _bag(z, rule.bag, side.get("mask"))
    if z.ndim == 2:
        return z
    z = z.movedim(rule.channel_dim, 1)
    if z.ndim == 4:
        rows, columns = min(rule.grid, z.shape[2]), min(rule.grid, z.shape[3])
        return functional.adaptive_avg_pool2d(z, (rows, columns)).flatten(1)
    if rule.tokens == LAST:
        return _last(z, side.get("mask"))
    if rule.tokens is not None:
        return _taken(z, rule.tokens).mean(2)
    if "mask" in side:
        return _mean_of(z, side["mask"])
    return z.flatten(2).mean(2)


def _mean_of(z_bct: Tensor, mask_bt: Tensor) -> Tensor:
    """The mean of the tokens that are there; of none, zeros."""
    mask_b1t = mask_bt[:, None].to(z_bct.dtype)
    # what is left out may be anything, NaN too, and NaN times 0 is NaN
    total = z_bct.masked_fill(~mask_bt[:, None], 0).sum(2)
    return total / mask_b1t.sum(2).clamp_min(1)


def _last(z_bct: Tensor, mask_bt: Tensor | None) -> Tensor:
    """The last token that is there; of none, zeros."""
    if mask_bt is None:
        return z_bct[:, :, -1]
    places_t = torch.arange(1, mask_bt.shape[1] + 1, device=mask_bt.device)
    last_b = (mask_bt * places_t).amax(1)
    # shape[0] and not len(), which an exported program would take for a number that stays
    z_bc = z_bct[torch.arange(z_bct.shape[0], device=z_bct.device), :, (last_b - 1).clamp_min(0)]
    return z_bc.masked_fill(last_b[:, None] == 0, 0)


def _bag(z_bt: Tensor, kinds: int, mask_bt: Tensor | None) -> Tensor:
    """The share of each kind of token: float32 [batch, kinds] (a hashed bag of words)."""
    tokens = z_bt.long() % kinds
    counted = torch.ones_like(tokens) if mask_bt is None else mask_bt.long()
    bag = torch.zeros(tokens.shape[0], kinds, device=tokens.device)
    bag.scatter_add_(1, tokens, counted.float())
    return bag / counted.sum(1, keepdim=True).clamp_min(1)


def _taken(z_bct: Tensor, tokens: tuple[int, ...]) -> Tensor:
    run = slice(tokens[0], tokens[-1] + 1)
    # tokens mostly stand in a row, and the backward pass of a slice is the faster one
    in_a_row = len(tokens) == run.stop - run.start
    return z_bct[:, :, run] if in_a_row else z_bct[:, :, list(tokens)]


def hidden_sizes(kind: str) -> tuple[int, ...]:
    """Widths of a head's hidden layers where nothing is said; none where they cannot be chosen."""
    found: Any = getattr(component("head", kind), "SIZES", ())
    return tuple(found)


class Head(nn.Module):
    """Pools activations, standardises them, and scores classes.

    A head that reads tokens or maps whole (``heads/whole.py``) pools them itself, and every channel
    is standardised. The mean and deviation of every feature are measured once, before training
    (``calibrate``): without that no single learning rate suits all cut points, since their
    activations differ in scale by orders of magnitude. Unlike BatchNorm the scale stays fixed,
    so it does not depend on the batch or on the number of devices.

    shape: of the cut point's activations without the batch; pooling: what is made of them; kind:
    name of the new layers, one of ``registry.names("head")``; scaled: outputs are numbers of any
    size, and the layers give how far they are from their mean, in standard deviations; own: the
    layers of the kind that are the source's own, which read activations as they are; sizes: widths
    of hidden layers, None for what the kind has; dropout: before the last layer, in training.
    Raises Refusal where such layers cannot read these activations.
    """

    mean: Tensor
    scale: Tensor
    middle: Tensor
    spread: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        pooling: Pooling,
        n_outputs: int,
        *,
        kind: str,
        scaled: bool = False,
        own: nn.Module | None = None,
        sizes: Sequence[int] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pooling, self.kind, self.scaled = pooling, kind, scaled
        self.sizes = tuple(sizes) if sizes and hidden_sizes(kind) else None
        if fault := whole.unread(kind, shape, ids=pooling.bag is not None):
            raise Refusal(fault)
        self.reads = whole.kind_of(shape, ids=pooling.bag is not None) if whole.reads(kind) else ""
        self.is_own = own is not None
        n_features = self.features(torch.zeros(1, *shape)).shape[1]
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))
        if scaled:
            self.register_buffer("middle", torch.zeros(n_outputs))
            self.register_buffer("spread", torch.ones(n_outputs))
        self.classify: nn.Module = own if own is not None else self._new(n_features, n_outputs)
        if dropout:
            drop_before_last(self.classify, dropout, kind)

    def _new(self, n_features: int, n_outputs: int) -> nn.Module:
        module, of = component("head", self.kind), (self.reads,) if self.reads else ()
        sized = {"sizes": self.sizes} if self.sizes else {}
        made: nn.Module = module.layers(n_features, n_outputs, *of, **sized)
        return made

    def forward(self, z: Tensor, side: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """[batch, ...] activations, and what rides along with them, to [batch, outputs]."""
        outputs = self._outputs(z, side)
        return outputs * self.spread + self.middle if self.scaled else outputs

    def _outputs(self, z: Tensor, side: Mapping[str, Tensor]) -> Tensor:
        if self.is_own:
            outputs: Tensor = self.classify(z, side) if side else self.classify(z)
        elif self.reads == "maps":
            z_bhwc = (z.movedim(self.pooling.channel_dim, -1) - self.mean) * self.scale
            outputs = self.classify(z_bhwc.movedim(-1, 1))
        elif self.reads:
            z_btc, there_bt = whole.tokens(z, self.pooling.channel_dim, side.get("mask"))
            z_btc = (z_btc - self.mean) * self.scale
            outputs = self.classify(z_btc.masked_fill(~there_bt[..., None], 0), there_bt)
        else:
            outputs = self.classify((pool(z, self.pooling, side) - self.mean) * self.scale)
        return outputs

    def features(self, z: Tensor, side: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """What is standardised: [n, features], of every example, or of every token or place."""
        if self.is_own:
            return z.new_zeros(len(z), 0)
        if self.reads == "maps":
            return z.movedim(self.pooling.channel_dim, -1).flatten(0, 2)
        if self.reads:
            z_btc, there_bt = whole.tokens(z, self.pooling.channel_dim, side.get("mask"))
            return z_btc[there_bt]
        return pool(z, self.pooling, side)

    @torch.no_grad()
    def calibrate(self, features: Iterable[Tensor]) -> None:
        """Set mean and scale from batches of ``features``, in one streaming pass."""
        mean, scale = standardisation(features)
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    @torch.no_grad()
    def calibrate_outputs(self, truth_no: Tensor) -> None:
        """Of a scaled head: outputs begin around the mean of these numbers, as far as they vary."""
        if self.scaled:
            t_no = truth_no.double()
            self.middle.copy_(t_no.mean(0))
            spread = t_no.std(0, unbiased=False)
            self.spread.copy_(torch.where(spread > 0, spread, torch.ones_like(spread)))

    @torch.no_grad()
    def set_linear(self, weight_do: Tensor, bias_o: Tensor) -> None:
        """Take the weights of a linear head that was fitted to standardised features."""
        layer: Any = self.classify
        if self.scaled:
            weight_do, bias_o = weight_do / self.spread, (bias_o - self.middle) / self.spread
        layer.weight.copy_(weight_do.T)
        layer.bias.copy_(bias_o)


@torch.no_grad()
def standardisation(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The mean of every feature, and one over its deviation: float64 [features] each.

    batches: features [n, features], at least one batch. A feature that hardly varies is
    not blown up: its deviation counts as at least a tenth of the root mean square of all features'
    deviations.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        # summed on the CPU: features that were computed ahead are there, and not every device
        # has double precision
        z_bd = batch.cpu().double()
        count += len(z_bd)
        total = total + z_bd.sum(0)
        squares = squares + z_bd.square().sum(0)
    mean = total / count
    variance = (squares / count - mean.square()).clamp_min(0)
    floor = 0.1 * variance.mean().sqrt() + 1e-12
    return mean, 1 / variance.sqrt().clamp_min(floor)
