"""From a module to its Program, by a trace that stays live in ``training``.

``self.training`` is read when a step is run, not when it is traced.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

from torch import Tensor, nn

from tlsweep.cut.program import Program, program_of
from tlsweep.cut.shadow import Shadow
from tlsweep.cut.stand_in import stand_in, undisturbed
from tlsweep.cut.tracer import Mode, Tracer


@dataclass(frozen=True)
class Call:
    """One call of a module: its steps are at places first..last, its result is ``output``."""

    path: str
    first: int
    last: int
    output: str


@dataclass(frozen=True)
class Trace:
    """A Program and where its steps come from.

    calls: every call of a module, inner ones first; owner: step name to the path of the module
    whose forward it stands in ("" is the root); opaque: modules that could not be traced.
    """

    program: Program
    calls: tuple[Call, ...]
    owner: dict[str, str]
    opaque: frozenset[str]


def has_own_forward(module: nn.Module) -> bool:
    """Whether a user wrote this class and its forward: neither torch's nor torchvision.ops' own."""
    kind = type(module)
    if kind.__module__.startswith(("torch.nn.", "torch.ao.nn.", "torchvision.ops.")):
        return False
    return kind.forward not in (nn.Sequential.forward, nn.Module.forward)


def trace(model: nn.Module, whole: Collection[str] = (), example: Tensor | None = None) -> Trace:
    """Trace ``model`` in eval mode, with the modules at the paths ``whole`` kept as single steps.

    example: a batch of input, whose sizes but for the batch's are those of the trace: a forward may
    ask for them. Reads ``training`` live where it is handed on (``F.dropout(x,
    training=self.training)``). Where a forward branches on it, the eval branch is taken, except in
    modules without further user modules inside, which are kept whole. Leaves ``model`` as it was.

    Raises what the model's own forward raises under tracing if the root itself cannot be traced.
    """
    whole = set(whole)
    while True:
        with (
            undisturbed(model) if example is not None else nullcontext(model) as computed,
            stand_in(model) as traced,
            _live_modes(traced) as branched,
            _no_new_attributes(traced) as constants,
        ):
            tracer = Tracer(whole, Shadow(computed, example))
            graph = tracer.trace(traced)
        more = {path for path in branched if _is_small(model, path)} - whole
        if not more:
            break
        whole |= more
    names = [node.name for node in graph.nodes]
    place = {name: i for i, name in enumerate(names)}
    calls = tuple(
        Call(path, place[first.name] + 1, place[output.name], output.name)
        for path, first, output in tracer.calls
    )
    owner = {node.name: path for node, path in tracer.owner.items()}
    program = program_of(graph, constants, sized=tracer.shadow.asked)
    return Trace(program, calls, owner, frozenset(tracer.opaque))


def _is_small(model: nn.Module, path: str) -> bool:
    if not path:
        return False
    inner = list(model.get_submodule(path).modules())[1:]
    return not any(has_own_forward(module) for module in inner)


@contextlib.contextmanager
def _live_modes(model: nn.Module) -> Iterator[set[str]]:
    branched: set[str] = set()
    modes = {module: module.training for module in model.modules()}
    try:
        for path, module in model.named_modules():
            module.__dict__["training"] = Mode(path, branched)
        yield branched
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextlib.contextmanager
def _no_new_attributes(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    # torch.fx stores the tensors that a forward makes out of nothing on the traced module
    before = set(model.__dict__)
    constants: dict[str, Tensor] = {}
    try:
        yield constants
    finally:
        for name in set(model.__dict__) - before:
            value = model.__dict__.pop(name)
            if isinstance(value, Tensor):
                constants[name] = value
