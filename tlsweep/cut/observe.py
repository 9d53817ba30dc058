"""Runs a Program on fake tensors: shapes, sizes and FLOPs without computing."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils.flop_counter import FlopCounterMode

from tlsweep.cut.program import Program, last_reads, names_in
from tlsweep.cut.stand_in import undisturbed

_CHANNELS_SECOND = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
)
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.MultiheadAttention)


@dataclass(frozen=True)
class Sight:
    """What was seen of one value.

    shape: of a tensor, else None; number: of an int, else None; is_float: a floating-point tensor;
    holds_tensor: a tensor or a structure with one; flops: of the step that made it; mutated: it was
    written to in place after it had been made.
    """

    shape: tuple[int, ...] | None
    number: int | None
    is_float: bool
    holds_tensor: bool
    flops: int = 0
    mutated: bool = False


@dataclass(frozen=True)
class Reading:
    """A parametric module seen at work: channel dimension of its kind, shapes in and out.

    step: place of the step that it worked in.
    """

    step: int
    dim_from: int
    shape_in: tuple[int, ...]
    shape_out: tuple[int, ...]


@dataclass
class Observation:
    """All values of one fake run by name, and the parametric modules in their order."""

    batch: int
    sights: dict[str, Sight] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)


def observe(
    program: Program, root: nn.Module, shape: tuple[int, ...], like: Tensor, *, count: bool = False
) -> Observation:
    """Run ``program`` on a fake input of ``shape`` (batch first).

    like: a tensor with the input's dtype and device; count: count FLOPs as well. Raises
    whatever the forward pass raises at that shape.
    """
    try:
        return _observe(program, root, shape, like, count, fake=True)
    except (DataDependentOutputException, DynamicOutputShapeException):
        # a module that looks at the values of tensors needs real ones, and may write to its own
        root = copy.deepcopy(root)
        return _observe(program, root, shape, like, count, fake=False)


def _observe(
    program: Program,
    root: nn.Module,
    shape: tuple[int, ...],
    like: Tensor,
    count: bool,
    *,
    fake: bool,
) -> Observation:
    seen = Observation(batch=shape[0])
    place = [0]
    counter = FlopCounterMode(display=False) if count else None
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(undisturbed(root))
        if fake:
            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(watch_modules(seen.readings, place))
        if counter is not None:
            stack.enter_context(counter)
        value = torch.zeros(shape, dtype=like.dtype, device=like.device)
        _run(program, root, value, seen, place, counter)
    return seen


def _run(
    program: Program,
    root: nn.Module,
    value: Tensor,
    seen: Observation,
    place: list[int],
    counter: FlopCounterMode | None,
) -> None:
    values: dict[str, Any] = {program.input: value}
    versions = {program.input: value._version}
    seen.sights[program.input] = _sight(value, 0)
    before = 0
    last = last_reads(program.steps, names_in(program.output))
    for i, (step, done) in enumerate(zip(program.steps, last, strict=True), start=1):
        place[0] = i
        constant = step.op == "constant"
        result = program.constants[step.target] if constant else step.run(root, values)
        total = counter.get_total_flops() if counter is not None else 0
        values[step.name] = result
        seen.sights[step.name] = _sight(result, total - before)
        before = total
        if isinstance(result, Tensor):
            versions[step.name] = result._version
        for name in done:
            _note_mutation(name, values.pop(name), versions, seen)
    for name, left in values.items():
        _note_mutation(name, left, versions, seen)


def _note_mutation(name: str, value: Any, versions: dict[str, int], seen: Observation) -> None:
    if isinstance(value, Tensor) and value._version != versions[name]:
        old = seen.sights[name]
        seen.sights[name] = Sight(
            old.shape, old.number, old.is_float, old.holds_tensor, old.flops, mutated=True
        )


def _sight(value: Any, flops: int) -> Sight:
    if isinstance(value, Tensor):
        return Sight(tuple(value.shape), None, value.is_floating_point(), True, flops)
    if isinstance(value, int) and not isinstance(value, bool):
        return Sight(None, value, False, False, flops)
    return Sight(None, None, False, _holds_tensor(value), flops)


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return any(_holds_tensor(item) for item in value)
    return isinstance(value, Tensor)


@contextlib.contextmanager
def watch_modules(readings: list[Reading], place: list[int]) -> Iterator[None]:
    """Inside, note every parametric module at work. place: of the step that is being run."""

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, _CHANNELS_SECOND):
            dim = 1
        elif isinstance(module, _CHANNELS_LAST):
            dim = -1
        else:
            return
        output = output[0] if isinstance(output, tuple) else output
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            shape_in, shape_out = tuple(inputs[0].shape), tuple(output.shape)
            readings.append(Reading(place[0], dim, shape_in, shape_out))

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        yield
    finally:
        handle.remove()
