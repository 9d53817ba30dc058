"""From a module to its Program: symbolic tracing that stays live in ``training`` and gives way.

What cannot be traced is kept whole as one step, and ``self.training`` is read when the step is run,
not when it is traced.
"""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from tlsweep.cut.program import Program, program_of


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


def trace(model: nn.Module, whole: Collection[str] = ()) -> Trace:
    """Trace ``model`` in eval mode, with the modules at the paths ``whole`` kept as single steps.

    Reads ``training`` live where it is handed on (``F.dropout(x, training=self.training)``). Where
    a forward branches on it, the eval branch is taken, except in modules without further user
    modules inside, which are kept whole. Leaves ``model`` as it was.

    Raises what the model's own forward raises under tracing if the root itself cannot be traced.
    """
    whole = set(whole)
    while True:
        tracer = _Tracer(whole)
        with _live_modes(model) as branched, _no_new_attributes(model) as constants:
            graph = tracer.trace(model)
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
    return Trace(program_of(graph, constants), calls, owner, frozenset(tracer.opaque))


def _is_small(model: nn.Module, path: str) -> bool:
    if not path:
        return False
    inner = list(model.get_submodule(path).modules())[1:]
    return not any(has_own_forward(module) for module in inner)


class _Mode:
    """Stands for ``module.training`` during a trace: False, but remembered as a question."""

    def __init__(self, path: str, branched: set[str]) -> None:
        self.path = path
        self.branched = branched

    def __bool__(self) -> bool:
        self.branched.add(self.path)
        return False


@contextlib.contextmanager
def _live_modes(model: nn.Module) -> Iterator[set[str]]:
    branched: set[str] = set()
    modes = {module: module.training for module in model.modules()}
    try:
        for path, module in model.named_modules():
            module.__dict__["training"] = _Mode(path, branched)
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


class _Proxy(fx.Proxy):
    """torch.fx's stand-in for a value, which also takes ``x[i] = y``."""

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, key, value), {})


class _Tracer(fx.Tracer):  # type: ignore[misc, unused-ignore]
    """torch.fx's tracer, which keeps what it cannot trace as one step and notes every call."""

    proxy_buffer_attributes = True  # else what a forward makes of a buffer is baked in

    def __init__(self, whole: Collection[str]) -> None:
        super().__init__(autowrap_modules=(math,))
        self.whole = frozenset(whole)
        self.opaque: set[str] = set()
        self.calls: list[tuple[str, fx.Node, fx.Node]] = []
        self.owner: dict[fx.Node, str] = {}
        self._path = ""
        self._parameter_cache: dict[str, Any] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self.whole or module_qualified_name in self.opaque:
            return True
        from_ops = type(m).__module__.startswith("torchvision.ops")
        if from_ops and not isinstance(m, nn.Sequential):
            return True
        leaf: bool = super().is_leaf_module(m, module_qualified_name)
        return leaf

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        # one input; what else forward takes stays at its defaults
        return root_fn, [self.root, self.create_proxy("placeholder", "input", (), {})]

    def create_arg(self, a: Any) -> Any:
        if isinstance(a, _Mode):
            target = f"{a.path}.training" if a.path else "training"
            return self.create_node("get_attr", target, (), {})
        return super().create_arg(a)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node: fx.Node = super().create_node(*args, **kwargs)
        self.owner[node] = self._path
        return node

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        self._parameter_cache = parameter_proxy_cache
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        path = self.path_of_module(m)
        before = self._last_node()
        outer, self._path = self._path, path
        try:
            result = self._call_or_keep_whole(m, path, forward, args, kwargs)
        finally:
            self._path = outer
        if isinstance(result, fx.Proxy):
            self.calls.append((path, before, result.node))
        return result

    def _call_or_keep_whole(
        self, m: nn.Module, path: str, forward: Any, args: Any, kwargs: Any
    ) -> Any:
        state = (self.scope.module_path, self.scope.module_type)
        stack, counts = self.module_stack.copy(), dict(self.num_calls)
        before, calls, cached = self._last_node(), len(self.calls), set(self._parameter_cache)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:  # a forward can fail under tracing in any way it likes
            if self.is_leaf_module(m, path):
                raise
        # as if the call had never begun
        while self._last_node() is not before:
            node = self._last_node()
            self.owner.pop(node, None)
            self.graph.erase_node(node)
        self.scope.module_path, self.scope.module_type = state
        self.module_stack, self.num_calls, self._path = stack, counts, path
        del self.calls[calls:]
        for name in set(self._parameter_cache) - cached:
            del self._parameter_cache[name]
        self.opaque.add(path)
        return super().call_module(m, forward, args, kwargs)

    def _last_node(self) -> fx.Node:
        node: fx.Node = next(iter(reversed(self.graph.nodes)))
        return node
