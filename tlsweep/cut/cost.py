"""What each prefix costs: parameters, FLOPs and bytes, all cut points in one fake run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from tlsweep.cut.anatomy import FLOAT32_BYTES, PrefixCost
from tlsweep.cut.observe import observe
from tlsweep.cut.program import Program, attribute

if TYPE_CHECKING:
    from tlsweep.cut.points import CutPoints


def prefix_costs(model: nn.Module, cuts: CutPoints, example: Tensor) -> tuple[PrefixCost, ...]:
    """The cost of every prefix of ``model``, in the order of ``cuts``; nothing is computed.

    example: one batch of input; FLOPs hold for its height and width. Leaves ``model`` as it was.
    """
    return cuts.anatomy.costs(model, [cut.value for cut in cuts], example)


def program_costs(
    program: Program, model: nn.Module, values: Sequence[str], example: Tensor
) -> tuple[PrefixCost, ...]:
    """The cost of computing each of these values, from one fake run of a program."""
    seen = observe(program, model, (1, *example.shape[1:]), example, count=True)
    flops = _running_sum([seen.sights[step.name].flops for step in program.steps])
    parameters = _running_sum(_new_parameters(program, model))
    return tuple(
        PrefixCost(
            parameters[program.place(value)],
            flops[program.place(value)],
            _elements(seen.sights[value].shape) * FLOAT32_BYTES,
        )
        for value in values
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
