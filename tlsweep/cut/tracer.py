"""torch.fx's tracer, which gives way: what it cannot trace is kept whole as one step.

Beside each step its value is computed on fake tensors at two batch sizes, so that a forward may ask
for sizes and branch on them: those that are the same at both are numbers, the example's; only what
depends on the batch stays a symbol.
"""

from __future__ import annotations

import dis
import math
import operator
import sys
from collections.abc import Callable, Collection, Iterator
from types import FrameType
from typing import Any

from torch import Tensor, fx, nn

from tlsweep.cut.shadow import Shadow


class Mode:
    """Stands for ``module.training`` during a trace: False, but remembered as a question."""

    def __init__(self, path: str, branched: set[str]) -> None:
        self.path = path
        self.branched = branched

    def __bool__(self) -> bool:
        self.branched.add(self.path)
        return False


class _Sizes(tuple[Any, ...]):
    """A shape of which some sizes are symbols."""

    def numel(self) -> Any:
        return math.prod(self)


class _Proxy(fx.Proxy):
    """torch.fx's stand-in for a value, which also takes ``x[i] = y``."""

    tracer: Tracer

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, key, value), {})


class _Known(_Proxy):
    """One that is computed where it is asked for sizes, and for how much it holds."""

    def __getattr__(self, k: str) -> Any:
        tensors = self._tensors() if k in ("shape", "ndim") else None
        if tensors is None:
            return super().__getattr__(k)
        return tensors[0].ndim if k == "ndim" else _Sizes(map(self._size, range(tensors[0].ndim)))

    def size(self, dim: int | None = None) -> Any:
        """Tensor.size."""
        if self._tensors() is None:
            return self._called("size", *(() if dim is None else (dim,)))
        return self.shape if dim is None else self._size(dim)

    def dim(self) -> Any:
        """Tensor.dim."""
        tensors = self._tensors()
        return tensors[0].ndim if tensors else self._called("dim")

    def __len__(self) -> int:
        length = self._length()
        return int(super().__len__()) if length is None else length

    def __iter__(self) -> Iterator[Any]:
        length = self._length() or _unpacked(sys._getframe(1))
        if length is None:
            raise fx.proxy.TraceError(f"{self.node} is gone through, and how far is not known")
        return (self[i] for i in range(length))  # type: ignore[index]

    def _called(self, method: str, *given: Any) -> Any:
        return self.tracer.create_proxy("call_method", method, (self, *given), {})

    def _tensors(self) -> tuple[Tensor, Tensor] | None:
        a, b = self.tracer.shadow.of(self.node)
        both = isinstance(a, Tensor) and isinstance(b, Tensor) and a.ndim == b.ndim
        return (a, b) if both else None

    def _length(self) -> int | None:
        """Of a tensor or of what holds several, where it does not depend on the batch."""
        a, b = self.tracer.shadow.of(self.node)
        several = isinstance(a, Tensor | tuple | list) and len(a) == len(b)
        return len(a) if several else None

    def _size(self, dim: int) -> Any:
        tensors = self._tensors()
        assert tensors is not None
        a, b = (tensor.shape[dim] for tensor in tensors)
        if a != b:
            return self._called("size", dim)
        self.tracer.shadow.asked = True
        return a


def _unpacked(frame: FrameType) -> int | None:
    """Into how many names the line that runs in ``frame`` unpacks a value; None: it does not."""
    found = (i for i in dis.get_instructions(frame.f_code) if i.offset == frame.f_lasti)
    return next((int(i.arg or 0) for i in found if i.opname == "UNPACK_SEQUENCE"), None)


class Tracer(fx.Tracer):  # type: ignore[misc, unused-ignore]
    """torch.fx's tracer, which keeps what it cannot trace as one step and notes every call."""

    proxy_buffer_attributes = True  # else what a forward makes of a buffer is baked in

    def __init__(self, whole: Collection[str], shadow: Shadow) -> None:
        super().__init__(autowrap_modules=(math,))
        self.whole, self.shadow = frozenset(whole), shadow
        self.opaque: set[str] = set()
        self.calls: list[tuple[str, fx.Node, fx.Node]] = []
        self.owner: dict[fx.Node, str] = {}
        self._path = ""
        self._parameter_cache: dict[str, Any] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step."""
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
        """The root and its one input; what else forward takes stays at its defaults."""
        return root_fn, [self.root, self.create_proxy("placeholder", "input", (), {})]

    def create_arg(self, a: Any) -> Any:
        """An argument as the graph holds it."""
        if isinstance(a, _Sizes):
            a = tuple(a)
        if isinstance(a, Mode):
            target = f"{a.path}.training" if a.path else "training"
            return self.create_node("get_attr", target, (), {})
        return super().create_arg(a)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """The stand-in of a value."""
        return (_Proxy if self.shadow.example is None else _Known)(node, self)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """A step, whose owner is the module whose forward runs."""
        node: fx.Node = super().create_node(*args, **kwargs)
        self.owner[node] = self._path
        self.shadow.note(node, self.root)
        return node

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """An attribute of a module, a symbol where it is a parameter or a buffer."""
        if self.shadow.computing:
            return attr_val
        self._parameter_cache = parameter_proxy_cache
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """A call of a module: its steps, or one step."""
        if self.shadow.computing:
            return forward(*args, **kwargs)
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
            self.shadow.forget(node)
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
