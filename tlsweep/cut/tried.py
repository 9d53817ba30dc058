"""Whether a model can be cut between calls: tried, on inputs of several kinds and sizes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tlsweep.cut.called import ENTRY, Calls, RunAgain, first_tensor, replaced


def inexact(model: nn.Module, cut: Calls, inputs: Sequence[Tensor]) -> tuple[list[str], Calls]:
    """The values at which the rest of ``model`` is not exact, and what was learned of the others.

    Exact is: the same answer, bit for bit, of each input, whatever stands in the blanks; the same
    gradients; and no way by which a training step would run again what lies below.
    """
    wrong: set[str] = set()
    written: set[str] = set()
    for x in inputs:
        taken, answer = _taken(model, cut, x)
        for value, z in taken.items():
            if value not in wrong and not _answers(model, cut, value, z, answer, written):
                wrong.add(value)
    cut = replace(cut, written=frozenset(written - wrong))
    x = inputs[0]
    taken, _ = _taken(model, cut, x)
    try:
        own = copy.deepcopy(model)  # the model's own gradients stay as they are
    except Exception:  # a user's module may hold what no copy is made of: a lock, an open file
        own = None
    for value, z in taken.items():
        if own is not None and value not in wrong and not _learns(own, cut, value, x, z):
            wrong.add(value)
    if not wrong:
        wrong |= _broken_links(model, own, cut, taken)
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


def _broken_links(
    model: nn.Module, own: nn.Module | None, cut: Calls, taken: Mapping[str, Tensor]
) -> set[str]:
    """The lower values of parts that do not give the next value, or do not train."""
    broken = set()
    for low, high in zip(cut.values, cut.values[1:], strict=False):
        with torch.no_grad():
            if not torch.equal(cut.part(model, low, high)(taken[low].clone()), taken[high]):
                broken.add(low)
        if own is not None and not _trains(own.train(), cut, low, high, taken[low]):
            broken.add(low if low != cut.input else high)
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
