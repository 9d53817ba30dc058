"""Which tokens of an activation [batch, tokens, channels] the model itself pools.

Found by letting NaN run through the model: backwards from the pooled value to the tokens that it
reads, and forwards from the input to the tokens that know of it. NaN and not a number, since zero
weights stop numbers (classifiers and whole branches may start at zero), and a LayerNorm stops equal
ones.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tlsweep.cut.anatomy import Anatomy
from tlsweep.cut.stand_in import undisturbed

_EXAMPLES = 4
Between = Callable[[str, str | None], nn.Module]
"""Names of two values to the part of a model between them; None: to the model's own output."""


@dataclass(frozen=True)
class Value:
    """A tensor of the forward pass. shape: without batch; channel_dim: with it as dimension 0.

    starts: whether a part of the model can start there.
    """

    name: str
    shape: tuple[int, ...]
    channel_dim: int
    starts: bool = True

    @property
    def n_tokens(self) -> int:
        """How many tokens there are; 0 where there is more than channels and tokens, or less."""
        return self.shape[self.token_dim - 1] if len(self.shape) == 2 else 0

    @property
    def token_dim(self) -> int:
        """The dimension that is not the channels', of three."""
        return 3 - self.channel_dim


def pooled_tokens(
    model: nn.Module, anatomy: Anatomy, values: Sequence[Value], like: Tensor
) -> dict[str, tuple[int, ...]]:
    """The tokens that are pooled, by value; a value of which all are pooled, or none, is left out.

    values: the articulations, from the input up; like: a batch of input. A class token is left out
    as well where it does not depend on the input yet: before the first attention it is the same for
    all images. Some blocks are computed on one example; where that fails, nothing is found, with a
    warning, but on the meta device. Leaves ``model`` and the random numbers as they were.
    """
    if not any(value.n_tokens for value in values):
        return {}

    def between(low: str, high: str | None) -> nn.Module:
        # a copy, since a module may keep what it is given, in a running mean say
        return copy.deepcopy(anatomy.part(model, low, high))

    try:
        with undisturbed(model) as model:
            read = _traced_back(between, values, like)
            some = [v for v in values if v.name in read and len(read[v.name]) < v.n_tokens]
            # tokens that are numbers of a vocabulary cannot be NaN: all know of the input
            floats = like.is_floating_point()
            uninformed = _uninformed(between, values[0].name, some, read, like) if floats else 0
    except Exception as error:  # the model's own modules fail, each in its own way
        if like.device.type != "meta":
            why = f"{type(error).__name__}: {error}"
            text = f"which tokens the model pools could not be found, so heads average all ({why})"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        return {}
    return {value.name: read[value.name] for value in some[uninformed:]}


def _traced_back(
    between: Between, values: Sequence[Value], like: Tensor
) -> dict[str, tuple[int, ...]]:
    """What is read of each value, from the last one of tokens down to where none is read.

    While their number stays, tokens are taken to stay in their places, through attention, too.
    """
    read: dict[str, tuple[int, ...]] = {}
    above: Value | None = None
    tokens: tuple[int, ...] = ()
    for value in reversed(values):
        if value.n_tokens:
            if above is None or above.n_tokens != value.n_tokens:
                if not value.starts:
                    continue  # what is read of it cannot be seen
                tokens = _reads(between, value, above, tokens, like)
            if not tokens:
                break
            read[value.name] = tokens
        elif read or len(value.shape) > 1:
            break  # a map: what is pooled are places of it
        above = value
    return read


def _reads(
    between: Between, value: Value, above: Value | None, tokens: tuple[int, ...], like: Tensor
) -> tuple[int, ...]:
    """The tokens of ``value`` that ``tokens`` of ``above`` are made of; None: the model's output.

    All of them where another example makes another choice, as a maximum does.
    """
    generator = torch.Generator().manual_seed(0)
    dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
    z = torch.randn((_EXAMPLES, *value.shape), generator=generator, dtype=dtype)
    z = z.to(like.device).requires_grad_()
    output = between(value.name, None if above is None else above.name)(z)
    outputs = [v for v in tree_leaves(output) if isinstance(v, Tensor) and v.requires_grad]
    seeds = [torch.full_like(v, math.nan) for v in outputs]
    if above is not None and above.n_tokens:
        others = sorted({*range(above.n_tokens)} - {*tokens})
        seeds[0].movedim(above.token_dim, 0)[others] = 0
    (gradient,) = torch.autograd.grad(outputs, z, seeds)
    read_nt = (gradient != 0).any(value.channel_dim)
    read_t = read_nt.any(0)
    if not (read_nt == read_t).all(1).any():  # no example reads all that is read
        return tuple(range(value.n_tokens))
    return tuple(read_t.nonzero().flatten().tolist())


@torch.no_grad()
def _uninformed(
    between: Between,
    below: str,
    values: Sequence[Value],
    read: dict[str, tuple[int, ...]],
    like: Tensor,
) -> int:
    """How many of ``values``, from the lowest, come before what is read knows of the input.

    below: name of the input.
    """
    z = torch.full((1, *like.shape[1:]), math.nan, dtype=like.dtype, device=like.device)
    for count, value in enumerate(values):
        found = between(below, value.name)(z)
        if found.movedim(value.token_dim, 0)[list(read[value.name])].isnan().any():
            return count
        if value.starts:
            below, z = value.name, found
    return len(values)
