"""A model's forward pass as a list of steps: plain values that can be sliced, pickled and run.

Why not ``torch.fx.GraphModule``: it pickles by tracing again, which would bake in whether the model
was training, and which drops what a trace cannot see.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate


@dataclass(frozen=True)
class Ref:
    """Stands for the value of an earlier step in the arguments of a later one."""

    name: str


@dataclass(frozen=True)
class Step:
    """One operation.

    op: as in torch.fx (call_module, call_function, call_method, get_attr), or "constant", a tensor
    that the forward pass makes out of nothing.
    """

    name: str
    op: str
    target: Any
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reads(self) -> frozenset[str]:
        """Names of the steps whose values this one reads."""
        return names_in((self.args, self.kwargs))

    def run(self, root: nn.Module, values: Mapping[str, Any]) -> Any:
        """This step's value, from those of the earlier ones and the parameters of ``root``."""
        if self.op in ("get_attr", "constant"):
            return attribute(root, self.target)
        args = fill(self.args, values)
        kwargs = fill(self.kwargs, values)
        if self.op == "call_module":
            return attribute(root, self.target)(*args, **kwargs)
        if self.op == "call_method":
            return getattr(args[0], self.target)(*args[1:], **kwargs)
        return self.target(*args, **kwargs)


@dataclass(frozen=True, eq=False)
class Program:
    """The whole forward pass of one architecture; holds no parameters.

    input: name of the raw input's value; output: the returned structure, with a Ref in place of
    each value; constants: tensors that the forward pass makes out of nothing, by name; sized:
    whether sizes of the example stand in it.
    """

    input: str
    steps: tuple[Step, ...]
    output: Any
    constants: Mapping[str, Tensor]
    sized: bool = False

    def place(self, name: str) -> int:
        """Where a value is made: 0 is the raw input, i is ``steps[i - 1]``."""
        if name == self.input:
            return 0
        return next(i for i, step in enumerate(self.steps, start=1) if step.name == name)


def program_of(graph: fx.Graph, constants: Mapping[str, Tensor], *, sized: bool = False) -> Program:
    """The steps of a traced graph, in their order.

    Dead ones are included, since they may work in place, but for those that take a part of
    something and do nothing with it: the second half of ``x, _ = lstm(x)``.
    """

    def plain(value: Any) -> Any:
        return _map(value, lambda a: Ref(a.name) if isinstance(a, fx.Node) else a)

    def step(node: fx.Node) -> Step:
        op = "constant" if node.op == "get_attr" and node.target in constants else node.op
        return Step(node.name, op, node.target, plain(node.args), plain(node.kwargs))

    for node in reversed(graph.nodes):
        takes = node.op == "call_function" and node.target in (getattr, operator.getitem)
        if takes and not node.users:
            graph.erase_node(node)
    nodes = list(graph.nodes)
    steps = tuple(step(node) for node in nodes if node.op not in ("placeholder", "output"))
    (start,) = (node.name for node in nodes if node.op == "placeholder")
    (output,) = (plain(node.args[0]) for node in nodes if node.op == "output")
    return Program(start, steps, output, dict(constants), sized)


def names_in(template: Any) -> frozenset[str]:
    """Names of all values that a structure refers to."""
    found: set[str] = set()

    def note(value: Any) -> Any:
        if isinstance(value, Ref):
            found.add(value.name)
        return value

    _map(template, note)
    return frozenset(found)


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """The structure with every Ref replaced by its value."""
    return _map(template, lambda a: values[a.name] if isinstance(a, Ref) else a)


def _map(template: Any, change: Callable[[Any], Any]) -> Any:
    # torch.fx's own walk through tuples, lists, dicts and slices; it is not typed for other leaves
    return map_aggregate(template, change)


def attribute(root: nn.Module, path: str) -> Any:
    """``root.a.b.c`` for the path "a.b.c"."""
    value: Any = root
    for name in path.split("."):
        value = getattr(value, name)
    return value


def last_reads(steps: Iterable[Step], keep: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    """For every step, the values that nothing reads after it, except those in ``keep``.

    Letting them go there keeps memory at what the source itself would need.
    """
    steps = tuple(steps)
    last: dict[str, int] = {}
    for i, step in enumerate(steps):
        last[step.name] = i
        last.update(dict.fromkeys(step.reads, i))
    done: list[list[str]] = [[] for _ in steps]
    for name, i in last.items():
        if name not in keep:
            done[i].append(name)
    return tuple(tuple(names) for names in done)
