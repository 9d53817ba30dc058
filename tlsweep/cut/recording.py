"""One forward pass as it ran: which modules were called when, and which tensors were read when.

For models that torch.fx cannot trace. The pass is run on numbers, so that a forward may branch on
them; what is read is told by torch below autograd, so that nothing of a forward is out of sight.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from tlsweep.cut.observe import Reading, watch_modules

# of what these read they take no numbers, only the shape
_SHAPES_ONLY = {
    *("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like"),
    *("new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"),
}


@dataclass
class Called:
    """One call of a module.

    start, end: moments; inside: places of the calls around it, the outermost first; version: how
    often its tensor had been written to when it ended; flops_before, flops: of all that was done
    until it began, and until it ended.
    """

    path: str
    start: int
    inside: tuple[int, ...]
    given: tuple[Tensor, ...]
    end: int = -1
    output: Any = None
    version: int = 0
    flops_before: int = 0
    flops: int = 0

    @property
    def tensor(self) -> Tensor | None:
        """The tensor that it returned, of several the first."""
        found = (leaf for leaf in tree_leaves(self.output) if isinstance(leaf, Tensor))
        return next(found, None)


@dataclass
class Recording:
    """All calls in the order in which they began; the calls' ends and beginnings are moments.

    made, read: storages to the first moment of one, and to the last; data: those that hold what was
    computed from the input; used: all moments at which a storage was read; operations:
    what was done at which moment.
    """

    batch: int
    calls: list[Called] = field(default_factory=list)
    made: dict[int, int] = field(default_factory=dict)
    read: dict[int, int] = field(default_factory=dict)
    data: set[int] = field(default_factory=set)
    used: dict[int, list[int]] = field(default_factory=dict)
    operations: list[tuple[int, str]] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    answer: Any = None

    def carries(self, tensor: Tensor | None, moment: int) -> bool:
        """Whether a floating-point tensor, batch first, is all that is read from a moment on.

        Of what was made before it of the input.
        """
        return self.is_features(tensor) and not self.read_later(tensor, moment)

    def is_features(self, tensor: Tensor | None) -> TypeGuard[Tensor]:
        """Whether it is a floating-point tensor, batch first, computed from the input."""
        if tensor is None or not tensor.is_floating_point() or not tensor.ndim:
            return False
        return len(tensor) == self.batch and storage(tensor) in self.data

    def read_later(self, tensor: Tensor, moment: int) -> list[int]:
        """What else was made of the input before a moment and is read from then on."""
        own = storage(tensor)
        returned = {storage(t) for t in tree_leaves(self.answer) if isinstance(t, Tensor)}
        return [
            other
            for other, made in self.made.items()
            if other != own
            and other in self.data
            and made < moment
            and (self.read.get(other, -1) >= moment or other in returned)
        ]


def storage(tensor: Tensor) -> int:
    """What holds a tensor's numbers: the same for all views of it."""
    return int(tensor.untyped_storage()._cdata)


def record(model: nn.Module, x: Tensor, *, count: bool = False) -> Recording:
    """Run ``model`` on ``x`` and note what it does. count: count FLOPs at each call's end as well.

    Raises what the forward raises. Leaves no hook behind.
    """
    run = Recording(len(x))
    watch = _Watch(run, x)
    counter = FlopCounterMode(display=False) if count else None
    place = [0]
    with torch.no_grad(), _hooked(model, watch, counter, place), watch_modules(run.readings, place):
        if counter is None:
            with watch:
                run.answer = model(x)
        else:
            with counter, watch:
                run.answer = model(x)
    return run


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what each operation reads and makes. Holds all tensors, so that none is mixed up."""

    def __init__(self, run: Recording, x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run, self.moment = run, 0
        self._held: list[Any] = [x]
        run.made[storage(x)] = -1
        run.data.add(storage(x))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """An operation, and a note of it."""
        result = func(*args, **(kwargs or {}))
        run, name = self.run, func._schema.name.partition("::")[2]
        given = [storage(t) for t in tree_leaves((args, kwargs)) if _is_held(t)]
        is_data = False
        for one in given if name not in _SHAPES_ONLY else ():
            run.used.setdefault(one, []).append(self.moment)
            run.read[one] = self.moment
            is_data = is_data or one in run.data
        for made in tree_leaves(result):
            if _is_held(made):
                self._held.append(made)
                run.made.setdefault(storage(made), self.moment)
                if is_data:
                    run.data.add(storage(made))
        run.operations.append((self.moment, name))
        return result


def _is_held(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


@contextmanager
def _hooked(
    model: nn.Module, watch: _Watch, counter: FlopCounterMode | None, place: list[int]
) -> Iterator[None]:
    run = watch.run
    stack: list[int] = []

    def begins(path: str, given: Any) -> None:
        tensors = tuple(t for t in tree_leaves(given) if isinstance(t, Tensor))
        watch.moment += 1
        stack.append(len(run.calls))
        call = Called(path, watch.moment, tuple(stack[:-1]), tensors)
        call.flops_before = counter.get_total_flops() if counter is not None else 0
        run.calls.append(call)

    def ends(path: str, output: Any) -> None:
        call = run.calls[stack.pop()]
        watch.moment += 1
        call.end, call.output = watch.moment, output
        call.version = 0 if call.tensor is None else call.tensor._version
        place[0] = watch.moment
        call.flops = counter.get_total_flops() if counter is not None else 0

    handles = []
    for path, module in model.named_modules():
        before = _Before(path, begins)
        handles.append(module.register_forward_pre_hook(before, with_kwargs=True, prepend=True))
        handles.append(module.register_forward_hook(_After(path, ends)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _Before:
    path: str
    note: Any

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.note(self.path, (args, kwargs))


@dataclass
class _After:
    path: str
    note: Any

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        self.note(self.path, output)
