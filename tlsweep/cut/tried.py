"""Whether a model can be cut between calls: tried, on inputs of several kinds and sizes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tlsweep.cut.called import ENTRY, Calls, RunAgain, first_tensor, replaced


def inexact(
    model: nn.Module, cut: Calls, inputs: Sequence[Tensor], prefix_only: Set[str]
) -> tuple[list[str], Calls]:
    """The values at which the rest of ``model`` is not exact, and what was learned of the others.

    Exact is: the same answer, bit for bit, of each input, whatever stands in the blanks; the same
    gradients; and no way by which a training step would run again what lies below. Of those that
    are ``prefix_only``: the values that the part below them does not give, bit for bit.
    """
    wrong: set[str] = set()
    written: set[str] = set()
    for x in inputs:
        taken, answer = _taken(model, cut, x)
        ends = [(low, high) for low, high in _links(cut, prefix_only) if high in prefix_only]
        wrong |= {high for low, high in ends if not _gives(model, cut, low, high, taken)}
        for value in [v for v in taken if v not in wrong | prefix_only]:
            if not _answers(model, cut, value, taken[value], answer, written):
                wrong.add(value)
    cut = replace(cut, written=frozenset(written - wrong))
    x = inputs[0]
    taken, _ = _taken(model, cut, x)
    try:
        own = copy.deepcopy(model)  # the model's own gradients stay as they are
    except Exception:  # a user's module may hold what no copy is made of: a lock, an open file
        own = None
    for value in [v for v in taken if v not in wrong | prefix_only]:
        if own is not None and not _learns(own, cut, value, x, taken[value]):
            wrong.add(value)
    if not wrong:
        wrong |= _broken_links(model, own, cut, taken, prefix_only)
    wrong -= {cut.input}
    return [value for value in cut.values if value in wrong], cut


@dataclass
class _Take:
    """Keeps a copy of the tensor at a value."""

    taken: dict[str, Tensor]
    value: str

    def given(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.taken[self.value] = first_tensor((args, kwargs)).clone()

    def made(self, module: nn.Module, args: Any, output: Any) -> None:
        self.taken[self.value] = first_tensor(output).clone()


@torch.no_grad()
def _taken(model: nn.Module, cut: Calls, x: Tensor) -> tuple[dict[str, Tensor], list[Any]]:
    """The tensor at each value, and what the model answers."""
    taken = {cut.input: x.clone()}
    handles = []
    for value in cut.values[1:]:
        take = _Take(taken, value)
        module = model.get_submodule(value.removesuffix(ENTRY))
        if value.endswith(ENTRY):
            handles.append(module.register_forward_pre_hook(take.given, with_kwargs=True))
        else:
            handles.append(module.register_forward_hook(take.made))
    try:
        answer = tree_leaves(model(x.clone()))
    finally:
        for handle in handles:
            handle.remove()
    return taken, [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in answer]


@torch.no_grad()
def _answers(
    model: nn.Module, cut: Calls, value: str, z: Tensor, answer: list[Any], written: set[str]
) -> bool:
    """Whether the rest answers what the model answers, on zeros for blanks, and on noise."""
    generator = torch.Generator().manual_seed(1)
    try:
        rest = cut.part(model, value, None)
        given = z.clone()
        before = given._version
        same = _same(tree_leaves(rest(given)), answer)
        if given._version != before:
            written.add(value)
        rest.spoil(generator)
        return same and _same(tree_leaves(rest(z.clone(), generator)), answer)
    except Exception:  # a forward can fail in any way it likes when what it needs is not there
        return False


def _same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else True
        for a, b in zip(one, other, strict=True)
    )


def _learns(model: nn.Module, cut: Calls, value: str, x: Tensor, z: Tensor) -> bool:
    """Whether gradients through the rest are those through the model."""
    if value == cut.input or not z.is_floating_point():
        return True
    try:
        ours, theirs = (z.clone().requires_grad_() for _ in range(2))
        _back(cut.part(model, value, None)(ours))
    except RunAgain:
        return False
    except Exception:  # nothing to learn there, in either
        return True
    with replaced(model, cut, value, theirs):
        _back(model(x.clone()))
    if ours.grad is None or theirs.grad is None:
        return ours.grad is theirs.grad
    least = 1e-6 * float(theirs.grad.abs().max())
    return torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=least)


def _back(output: Any) -> None:
    tensors = [t for t in tree_leaves(output) if isinstance(t, Tensor) and t.requires_grad]
    torch.autograd.backward([t.double().square().sum() for t in tensors])


def _links(cut: Calls, prefix_only: Set[str]) -> Iterator[tuple[str, str]]:
    """Where the parts of a plan begin and end: each value, and the nearest start below it."""
    low = cut.input
    for high in cut.values[1:]:
        yield low, high
        low = low if high in prefix_only else high


@torch.no_grad()
def _gives(model: nn.Module, cut: Calls, low: str, high: str, taken: Mapping[str, Tensor]) -> bool:
    """Whether the part between two values makes the upper one of the lower one."""
    try:
        return torch.equal(cut.part(model, low, high)(taken[low].clone()), taken[high])
    except Exception:  # as in _answers
        return False


def _broken_links(
    model: nn.Module,
    own: nn.Module | None,
    cut: Calls,
    taken: Mapping[str, Tensor],
    prefix_only: Set[str],
) -> set[str]:
    """The lower values of parts that do not give the next value, or do not train.

    The upper one where that is good for its prefix only, or the lower one is the input.
    """
    broken = set()
    for low, high in _links(cut, prefix_only):
        if not _gives(model, cut, low, high, taken):
            broken.add(high if high in prefix_only else low)
        if own is not None and not _trains(own.train(), cut, low, high, taken[low]):
            broken.add(high if high in prefix_only or low == cut.input else low)
    return broken


def _trains(model: nn.Module, cut: Calls, low: str, high: str, z: Tensor) -> bool:
    z = z.clone().requires_grad_(z.is_floating_point())
    try:
        _back(cut.part(model, low, high)(z))
    except RunAgain:
        return False
    except Exception:  # the model's own affair: a batch of one, nothing to train
        return True
    return True
