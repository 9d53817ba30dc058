"""Which tensors ask for gradients where some blocks are frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import nn


def ask(blocks: Sequence[nn.Module], trained: Mapping[int, Iterable[nn.Parameter]]) -> None:
    """Ask for the gradients of these tensors and of no others of the blocks.

    trained: by the place of a block that is thawed, what is trained of it. A tensor that it shares
    with a frozen block is frozen: else neither were.
    """
    frozen = (block for i, block in enumerate(blocks) if i not in trained)
    held = {id(p) for block in frozen for p in block.parameters()}
    asked = {id(p) for own in trained.values() for p in own} - held
    for parameter in (p for block in blocks for p in block.parameters()):
        parameter.requires_grad_(id(parameter) in asked)
        if not parameter.requires_grad:
            parameter.grad = None
