"""The part of a forward pass between two of its values, as a module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tlsweep.cut.flow import Flow
from tlsweep.cut.program import Program, Ref, Step, fill, last_reads, names_in
from tlsweep.errors import Fault, Refusal


@dataclass(frozen=True)
class _Route:
    """What a Section runs.

    done: per step, the values that are not needed after it; shape: that an input must have, without
    batch, where sizes of the example that the cut points were found with stand in the steps.
    """

    input: str
    steps: tuple[Step, ...]
    done: tuple[tuple[str, ...], ...]
    output: Any
    clone: bool
    shape: tuple[int, ...] | None


class Section(nn.Module):
    """The part of a model between two cut points.

    Shares the model's parameters, buffers and inner modules, under their names in the model's
    state_dict; holds only those that it uses. ``train()`` and ``eval()`` therefore reach the
    model's own modules, too: deepcopy the model first where that is unwanted. Never writes to its
    input.
    """

    def __init__(self, root: nn.Module, route: _Route, constants: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.training = root.training
        self._tlsweep_route = route
        for step in route.steps:
            if step.op == "constant":
                self.register_buffer(step.target, constants[step.target], persistent=False)
            elif step.op in ("call_module", "get_attr"):
                install(root, self, step.target)

    def forward(self, x: Tensor) -> Any:
        """[batch, ...] as at the lower cut point, any batch size, to what is at the upper one.

        Raises ValueError for another shape than the example's where the model asks for sizes.
        """
        route = self._tlsweep_route
        if route.shape is not None and tuple(x.shape[1:]) != route.shape:
            raise ValueError(
                f"an input of shape {tuple(x.shape[1:])}: this model's forward asks for sizes, so"
                f" its cut points hold for the shape that they were found with, {route.shape}"
            )
        values: dict[str, Any] = {route.input: x.clone() if route.clone else x}
        for step, done in zip(route.steps, route.done, strict=True):
            values[step.name] = step.run(self, values)
            for name in done:
                values.pop(name, None)
        return fill(route.output, values)

    def extra_repr(self) -> str:
        """How many steps there are, beside the modules that torch lists."""
        return f"steps={len(self._tlsweep_route.steps)}"


def section_of(
    model: nn.Module,
    program: Program,
    flow: Flow,
    low: str,
    high: str | None,
    shape: tuple[int, ...] | None = None,
) -> Section:
    """The part of ``model`` from the value ``low`` to ``high``; None: to the model's own output.

    shape: the only one that an input may have, without batch; None for any. Raises Refusal if
    ``model`` lacks what the part uses.
    """
    steps = steps_between(program, flow, low, high)
    output = program.output if high is None else Ref(high)
    done = last_reads(steps, names_in(output))
    clone = low in flow.mutated and bool(steps)
    try:
        return Section(
            model,
            _Route(low, steps, done, output, clone, shape if steps else None),
            program.constants,
        )
    except AttributeError as error:
        raise Refusal(other_architecture(model, error)) from error


def steps_between(program: Program, flow: Flow, low: str, high: str | None) -> tuple[Step, ...]:
    """The steps after the value ``low`` up to and with ``high`` (None: all), fit to run alone.

    Every step is kept, in its order: one whose value nobody reads may still write in place. What
    was made before ``low`` is made again from parameters and the batch size of ``low``.
    """
    steps = {step.name: step for step in program.steps}
    emitted: dict[str, Step] = {}

    def available(name: str) -> bool:
        if name == low or name in emitted:
            return True
        if name in flow.batch:
            emitted[name] = Step(name, "call_method", "size", (Ref(low), 0))
            return True
        if name in flow.portable and all(available(read) for read in sorted(steps[name].reads)):
            emitted[name] = steps[name]
            return True
        return False

    end = len(program.steps) if high is None else program.place(high)
    for step in program.steps[program.place(low) : end]:
        if all(available(read) for read in sorted(step.reads)):
            emitted.setdefault(step.name, step)
        elif step.name not in flow.skippable:
            raise AssertionError(f"{step.name} reads past {low}, which is no cut point")
    return tuple(emitted.values())


def install(source: nn.Module, target: nn.Module, path: str) -> None:
    """Put ``source``'s attribute at ``path`` at the same path of ``target``, itself, not a copy."""
    *containers, name = path.split(".")
    for container in containers:
        inner = getattr(source, container)
        shelf = target._modules.get(container)
        if shelf is inner:
            return  # a module that is there whole
        if shelf is None:
            shelf = nn.Module()
            shelf.training = inner.training
            target.add_module(container, shelf)
        source, target = inner, shelf
    value = getattr(source, name)
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        saved = name in source._buffers and name not in source._non_persistent_buffers_set
        target.register_buffer(name, value, persistent=saved)
    else:
        setattr(target, name, value)


def other_architecture(model: nn.Module, error: Exception) -> Fault:
    """The fault of a model that lacks what a part uses."""
    return Fault(
        f"{type(model).__name__}: {error}",
        "cut points serve the architecture that they were found in",
        "cut_points(model, example) for this model",
    )
