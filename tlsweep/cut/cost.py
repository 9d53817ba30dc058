"""What each prefix costs: parameters, FLOPs and bytes, all cut points in one fake run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from tlsweep.cut.observe import observe
from tlsweep.cut.points import CutPoints
from tlsweep.cut.program import Program, attribute

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class PrefixCost:
    """What it costs to compute one cut point's tensor from the input.

    parameters: numbers held by the parameters that the prefix uses, shared ones counted once;
    flops: per example, forward pass, a multiply-add is two (convolutions, matrix products and
    attention; what is element by element is not counted); activation_bytes: of the cut point's
    tensor per example, as float32.
    """

    parameters: int
    flops: int
    activation_bytes: int


def prefix_costs(model: nn.Module, cuts: CutPoints, example: Tensor) -> tuple[PrefixCost, ...]:
    """The cost of every prefix of ``model``, in the order of ``cuts``; nothing is computed.

    example: one batch of input; FLOPs hold for its height and width. Leaves ``model`` as it was.
    """
    program = cuts.anatomy.program
    seen = observe(program, model, (1, *example.shape[1:]), example, count=True)
    flops = _running_sum([seen.sights[step.name].flops for step in program.steps])
    parameters = _running_sum(_new_parameters(program, model))
    return tuple(
        PrefixCost(
            parameters[program.place(cut.value)],
            flops[program.place(cut.value)],
            _elements(seen.sights[cut.value].shape) * FLOAT32_BYTES,
        )
        for cut in cuts
    )


def _running_sum(numbers: Sequence[int]) -> list[int]:
    """Sums of the first 0, 1, ... numbers."""
    sums = [0]
    for number in numbers:
        sums.append(sums[-1] + number)
    return sums


def _new_parameters(program: Program, model: nn.Module) -> list[int]:
    """For every step, the size of the parameters that no earlier step uses."""
    counted: set[int] = set()
    sizes = []
    for step in program.steps:
        used: list[nn.Parameter] = []
        if step.op == "call_module":
            used = list(attribute(model, step.target).parameters())
        elif step.op == "get_attr":
            value = attribute(model, step.target)
            used = [value] if isinstance(value, nn.Parameter) else []
        new = {id(p): p.numel() for p in used if id(p) not in counted}
        counted |= new.keys()
        sizes.append(sum(new.values()))
    return sizes


def _elements(shape: tuple[int, ...] | None) -> int:
    assert shape is not None
    return math.prod(shape[1:])
