"""The values of a trace, beside its symbols: fake tensors at two batch sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.node import map_aggregate

from tlsweep.cut.program import attribute

BATCHES = (3, 5)  # two odd sizes: a number that is both times the batch size is the batch size
UNKNOWN = object()
_NEITHER = (UNKNOWN, UNKNOWN)


class Shadow:
    """Computes the steps of a trace on fake tensors, as far as the forward asks for sizes.

    model: the same as the one that is traced, in eval mode, and its own; example: one batch of
    input, None where it is not known: then nothing is. computing: whether a step is being computed
    now, and calls of modules are no part of the trace; asked: whether the forward has asked for a
    size that is the example's.
    """

    def __init__(self, model: nn.Module, example: Tensor | None) -> None:
        self.model, self.example = model, example
        self.computing = self.asked = False
        self._values: dict[fx.Node, tuple[Any, Any]] = {}
        self._pending: dict[fx.Node, nn.Module] = {}  # in the order of the trace
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)

    def note(self, node: fx.Node, root: nn.Module) -> None:
        """A new step of the trace. root: what is traced."""
        if self.example is not None and node.op != "output":
            self._pending[node] = root

    def forget(self, node: fx.Node) -> None:
        """A step is no part of the trace any more."""
        self._pending.pop(node, None)
        self._values.pop(node, None)

    def of(self, node: fx.Node) -> tuple[Any, Any]:
        """The step's value at either batch size; UNKNOWN where it cannot be computed."""
        while node in self._pending:  # in their order: a step may write into an earlier value
            first = next(iter(self._pending))
            self._values[first] = self._computed(first, self._pending.pop(first))
        return self._values.get(node, _NEITHER)

    def _computed(self, node: fx.Node, root: nn.Module) -> tuple[Any, Any]:
        self.computing = True
        try:
            with self._fake, torch.no_grad():
                return self._run(node, root, 0), self._run(node, root, 1)
        except Exception:  # what the values of tensors decide, or a forward that fails: told later
            return _NEITHER
        finally:
            self.computing = False

    def _run(self, node: fx.Node, root: nn.Module, i: int) -> Any:
        assert self.example is not None
        if node.op == "placeholder":
            size = (BATCHES[i], *self.example.shape[1:])
            return torch.zeros(size, dtype=self.example.dtype, device=self.example.device)
        if node.op == "get_attr":
            made_here = hasattr(root, str(node.target).partition(".")[0])
            known = hasattr(self.model, str(node.target).partition(".")[0])
            return attribute(self.model if known or not made_here else root, str(node.target))
        args, kwargs = self._given((node.args, node.kwargs), i)
        if node.op == "call_module":
            return self.model.get_submodule(str(node.target))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)

    def _given(self, template: Any, i: int) -> Any:
        def value(leaf: Any) -> Any:
            if not isinstance(leaf, fx.Node):
                return leaf
            if (found := self._values[leaf][i]) is UNKNOWN:
                raise ValueError(f"{leaf} is not known")
            return found

        return map_aggregate(template, value)
