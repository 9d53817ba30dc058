"""The parts of a model between cut points, as modules that share its parameters and their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tlsweep.cut.points import Anatomy, CutPoint, CutPoints, cut_points
from tlsweep.cut.program import Ref, Step, fill, last_reads, names_in
from tlsweep.errors import Fault, Refusal


@dataclass(frozen=True)
class _Route:
    """What a Section runs. done: per step, the values that are not needed after it."""

    input: str
    steps: tuple[Step, ...]
    done: tuple[tuple[str, ...], ...]
    output: Any
    clone: bool


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
                _install(root, self, step.target)

    def forward(self, x: Tensor) -> Any:
        """[batch, ...] as at the lower cut point, any batch size, to what is at the upper one."""
        route = self._tlsweep_route
        values: dict[str, Any] = {route.input: x.clone() if route.clone else x}
        for step, done in zip(route.steps, route.done, strict=True):
            values[step.name] = step.run(self, values)
            for name in done:
                values.pop(name, None)
        return fill(route.output, values)

    def extra_repr(self) -> str:
        """How many steps there are, beside the modules that torch lists."""
        return f"steps={len(self._tlsweep_route.steps)}"


def section(
    model: nn.Module, cuts: CutPoints, lo: int | CutPoint, hi: int | CutPoint | None
) -> Section:
    """The part of ``model`` from cut point ``lo`` to ``hi``; None: to the model's own output.

    model: any instance of the architecture that ``cuts`` were found in. Sections in a row make up
    the model: ``section(m, cuts, 1, 2)(section(m, cuts, 0, 1)(x))`` is bit for bit
    ``section(m, cuts, 0, 2)(x)`` in eval mode.

    Raises Refusal if ``model`` lacks what the section uses, ValueError if ``hi`` lies below ``lo``.
    """
    low = cuts[lo] if isinstance(lo, int) else lo
    high = cuts[hi] if isinstance(hi, int) else hi
    if high is not None and high.index < low.index:
        raise ValueError(f"a section from {low.name} up cannot end at {high.name}, below it")
    return _section(model, cuts.anatomy, low.value, None if high is None else high.value)


def split(
    model: nn.Module, cut: CutPoint | str | int | float, *, example: Tensor | None = None
) -> tuple[Section, Section]:
    """Split ``model`` at ``cut`` into prefix and suffix: ``suffix(prefix(x))`` is ``model(x)``.

    Bit for bit in eval mode, at any batch size. cut: a cut point of ``cut_points(model, example)``,
    or what ``CutPoints.resolve`` takes, and then ``example`` is needed. Both parts share the
    model's parameters. Raises Refusal for an unknown cut point or a model that does not have it.
    """
    if not isinstance(cut, CutPoint):
        if example is None:
            raise TypeError(
                "split() with the name of a cut point needs example=, one batch of input"
            )
        cut = cut_points(model, example).resolve(cut, where="cut")
    anatomy = cut.anatomy
    prefix = _section(model, anatomy, anatomy.program.input, cut.value)
    return prefix, _section(model, anatomy, cut.value, None)


def _section(model: nn.Module, anatomy: Anatomy, low: str, high: str | None) -> Section:
    steps = steps_between(anatomy, low, high)
    output = anatomy.program.output if high is None else Ref(high)
    done = last_reads(steps, names_in(output))
    clone = low in anatomy.flow.mutated and bool(steps)
    try:
        return Section(model, _Route(low, steps, done, output, clone), anatomy.program.constants)
    except AttributeError as error:
        raise Refusal(_other_architecture(model, error)) from error


def steps_between(anatomy: Anatomy, low: str, high: str | None) -> tuple[Step, ...]:
    """The steps after the value ``low`` up to and with ``high`` (None: all), fit to run alone.

    Every step is kept, in its order: one whose value nobody reads may still write in place. What
    was made before ``low`` is made again from parameters and the batch size of ``low``.
    """
    program, flow = anatomy.program, anatomy.flow
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


def _install(source: nn.Module, target: nn.Module, path: str) -> None:
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


def _other_architecture(model: nn.Module, error: Exception) -> Fault:
    return Fault(
        f"{type(model).__name__}: {error}",
        "cut points serve the architecture that they were found in",
        "cut_points(model, example) for this model",
    )
