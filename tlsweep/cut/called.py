"""A forward pass that torch.fx cannot trace: cut between calls of its modules.

A part runs the model's own forward, code and all, with the modules that it does not use passed
over: those below its lower cut point give blanks, the one that ends there gives what was put in,
and after the one that ends at its upper cut point nothing is run. ``calls.py`` offers only cut
points at which that was seen to be exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from tlsweep.cut.anatomy import FLOAT32_BYTES, Anatomy, PrefixCost
from tlsweep.cut.parts import other_architecture
from tlsweep.cut.recording import Recording, record
from tlsweep.cut.stand_in import undisturbed
from tlsweep.errors import Refusal

INPUT = "(input)"  # no path of a module
ENTRY = "<"  # after a path: what the module is given, where no module gives it
OUTPUT = ""  # the path of the model itself: its own output


@dataclass(frozen=True)
class Blank:
    """A tensor that a call gave, without its numbers. times: dimension 0 in batches, or None."""

    shape: tuple[int, ...]
    times: int | None
    dtype: torch.dtype

    def filled(self, like: Tensor, fill: torch.Generator | None) -> Tensor:
        """Zeros, or what ``fill`` draws, for the batch of ``like``."""
        first = () if self.times is None else (self.times * like.shape[0],)
        shape = (*first, *self.shape)
        if fill is None or not self.dtype.is_floating_point:
            return torch.zeros(shape, dtype=self.dtype, device=like.device)
        return torch.randn(shape, generator=fill, dtype=self.dtype).to(like.device)


class Unknown:
    """What a call gave that no blank can stand for."""


@dataclass(frozen=True)
class Known:
    """What is known of a module that is called.

    parts: between which cut points its calls lie, those before the first one counted 0; gives: what
    it returned, with blanks for tensors; portable: it gives the same whatever the input is, so that
    it is run again in each part above it.
    """

    parts: frozenset[int]
    gives: Any
    portable: bool


@dataclass(frozen=True, eq=False)
class Calls(Anatomy):
    """How a model calls its modules.

    values: paths of the modules whose calls end at the places where it may be cut, in their order,
    after the input; called: the modules outside of blocks, and blocks, by path; holders: those of
    them inside which such a place lies; used: in which parts each parameter and buffer is read by
    the code of a holder; shape, dtype: of the input, without batch; written: values that are
    written to in place later.
    """

    way = "calls"
    values: tuple[str, ...]
    called: Mapping[str, Known]
    holders: frozenset[str]
    used: Mapping[str, frozenset[int]]
    shape: tuple[int, ...]
    dtype: torch.dtype
    written: frozenset[str] = frozenset()

    @property
    def input(self) -> str:
        """The name of the raw input."""
        return INPUT

    def part(self, model: nn.Module, low: str, high: str | None) -> CalledPart:
        """The model's own forward, with what lies below ``low`` passed over."""
        try:
            return CalledPart(model, self, low, high)
        except AttributeError as error:
            raise Refusal(other_architecture(model, error)) from error

    def between(self, low: str, high: str | None) -> range:
        """The parts from one value to another; None: to the end."""
        end = len(self.values) if high is None else self.values.index(high)
        return range(self.values.index(low), end)

    def passed(self, path: str, low: str) -> bool:
        """Whether a called module is passed over: all of it lies below ``low``."""
        known, first = self.called[path], self.values.index(low)
        if path in self.holders:
            return max(known.parts) < first
        return not known.portable

    def costs(
        self, model: nn.Module, values: Sequence[str], example: Tensor
    ) -> tuple[PrefixCost, ...]:
        """FLOPs from one run on zeros, whatever is branched on; parameters part by part."""
        with undisturbed(model) as quiet:
            zeros = torch.zeros((1, *example.shape[1:]), dtype=example.dtype, device=example.device)
            run = record(quiet, zeros, count=True)
        costs, counted, numbers, low = [], set[int](), 0, self.input
        for value in values:
            if value != low:
                new = {id(p): p.numel() for p in self.part(model, low, value).parameters()}
                numbers += sum(n for i, n in new.items() if i not in counted)
                counted |= new.keys()
            tensor, work = (example, 0) if value == self.input else _at(run, value)
            costs.append(PrefixCost(numbers, work, tensor[0].numel() * FLOAT32_BYTES))
            low = value
        return tuple(costs)


class _Enough(BaseException):
    """The upper cut point is reached. No error: a forward that catches those lets it pass."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


def _at(run: Recording, value: str) -> tuple[Tensor, int]:
    """The tensor of a value, and the FLOPs up to it."""
    path = value.removesuffix(ENTRY)
    call = next(call for call in run.calls if call.path == path)
    if value.endswith(ENTRY):
        return call.given[0], call.flops_before
    assert call.tensor is not None
    return call.tensor, call.flops


class RunAgain(RuntimeError):  # noqa: N818 - what happened, not a fault of the program
    """What was run in part is run again as a whole, which would give other gradients."""


@dataclass
class _Pass:
    """One run of a part: what its modules do when they are called."""

    cut: Calls
    low: str
    high: str | None
    given: Tensor | None = None
    reached: bool = False
    kept: Tensor | None = None
    inside: frozenset[str] = frozenset()
    noted: dict[str, Tensor] = field(default_factory=dict)
    fill: torch.Generator | None = field(default=None, repr=False)

    def call(self, path: str, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """What a module's call gives here."""
        if self.given is None:
            return self._again(path, module, args, kwargs)
        known, entry = self.cut.called[path], path + ENTRY
        if self.kept is not None and path not in self.cut.holders:
            return _blanks(known.gives, self.given, self.fill)
        if entry == self.high:
            self._enough(first_tensor((args, kwargs)))
            return _blanks(known.gives, self.given, self.fill)
        if entry == self.low and not self.reached:
            self.reached = True
            args, kwargs = _exchanged((args, kwargs), self.given)
        if not self.reached:
            if path == self.low:
                self.reached = True
                return _put(known.gives, self.given, self.fill)
            if self.cut.passed(path, self.low):
                return _blanks(known.gives, self.given, self.fill)
        output = type(module).forward(module, *args, **kwargs)
        if path == self.high:
            self._enough(first_tensor(output))
        if path in self.inside:  # a clone: what follows may write to it
            self.noted[path] = first_tensor(output).clone()
        return output

    def _enough(self, value: Tensor) -> None:
        """The upper cut point is reached: stop here, but for an export.

        That follows calls of modules to their ends, so that all above is passed over instead.
        """
        if not torch.compiler.is_exporting():
            raise _Enough(value)
        self.kept = value

    def _again(self, path: str, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """A call after the run: torch.utils.checkpoint computes something anew."""
        here = self.cut.between(self.low, self.high)
        if path in self.cut.holders or not self.cut.called[path].parts <= {*here}:
            raise RunAgain(
                f"torch.utils.checkpoint runs {path or 'the model'} again, around a cut point: put"
                " it around single blocks, or train without it"
            )
        return type(module).forward(module, *args, **kwargs)


@dataclass
class _Gate:
    """In place of a module's forward."""

    run: _Pass
    path: str
    module: nn.Module

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run.call(self.path, self.module, args, kwargs)


class CalledPart(nn.Module):
    """The part of a model between two cut points.

    Shares the parameters that are used there, under their names in the model's state_dict, and no
    others; modules that are not used stand in it empty. Never writes to its input.
    """

    def __init__(self, model: nn.Module, cut: Calls, low: str, high: str | None) -> None:
        super().__init__()
        self.training = model.training
        self._run = _Pass(cut, low, high)
        self.through = low in (high, OUTPUT)  # nothing lies between
        shells = _Shells(self._run)
        root = shells.of(model, "", empty=self.through)
        # the same dictionaries: what is registered in the one is in the other
        for name in ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set"):
            self.__dict__[name] = root.__dict__[name]
        self.__dict__["_root"], self.__dict__["_blanks"] = root, shells.blanks

    def note(self, inside: Iterable[str]) -> None:
        """In each run note the tensors at these values, which lie between its two ends."""
        self._run.inside = frozenset(inside)

    def noted(self) -> dict[str, Tensor]:
        """What the last run noted, once."""
        found, self._run.noted = self._run.noted, {}
        return found

    def spoil(self, generator: torch.Generator) -> None:
        """Draw numbers for parameters that are not used, to see that they are not."""
        for shell, name in self.__dict__["_blanks"]:
            old = shell._buffers[name]
            shell._buffers[name] = torch.randn(old.shape, generator=generator).to(old)

    def forward(self, x: Tensor, fill: torch.Generator | None = None) -> Any:
        """[batch, ...] as at the lower cut point to what is at the upper one.

        fill: draws the blanks, which are zeros otherwise.
        """
        if self.through:
            return x
        run, cut, root = self._run, self._run.cut, self.__dict__["_root"]
        root.training = self.training
        x = x.clone() if run.low in cut.written else x
        run.given, run.fill, run.reached = x, fill, run.low == INPUT
        blank = Blank(cut.shape, 1, cut.dtype)
        try:
            # not as a call of the module: the root is no part of what an export sees
            output = run.call(OUTPUT, root, (x if run.reached else blank.filled(x, fill),), {})
        except _Enough as enough:
            return enough.value
        finally:
            kept, run.kept = run.kept, None
            run.given = run.fill = None
        if kept is not None:
            return kept
        return first_tensor(output) if run.high == OUTPUT else output


class _Shells:
    """Stand-ins of modules: of their class, with the model's own tensors where they are used."""

    def __init__(self, run: _Pass) -> None:
        self.run = run
        self.blanks: list[tuple[nn.Module, str]] = []
        self._made: dict[int, nn.Module] = {}

    def of(self, module: nn.Module, path: str, *, empty: bool = False) -> nn.Module:
        """One for a module; what is shared in the model is shared in it, too."""
        if id(module) in self._made:
            return self._made[id(module)]
        shell: nn.Module = object.__new__(type(module))
        shell.__dict__.update(module.__dict__)
        self._made[id(module)] = shell
        run, called = self.run, self.run.cut.called
        here = {*run.cut.between(run.low, run.high)}
        known = called.get(path)
        used = known is not None and (known.portable or not here.isdisjoint(known.parts))
        if not used or path in run.cut.holders or empty:
            self._strip(shell, module, path, empty)
        if path in called:
            shell.__dict__["forward"] = _Gate(run, path, shell)
        return shell

    def _strip(self, shell: nn.Module, module: nn.Module, path: str, empty: bool) -> None:
        """Leave only the tensors that are read in this part, and blanks for the others."""
        run, prefix = self.run, f"{path}." if path else ""
        here = set() if empty else {*run.cut.between(run.low, run.high)}

        def kept(name: str) -> bool:
            return not here.isdisjoint(run.cut.used.get(prefix + name, ()))

        parameters, buffers = dict(module._parameters), dict(module._buffers)
        aside = {name for name in buffers if not kept(name)}
        for name, value in module._parameters.items():
            if value is not None and not kept(name):
                del parameters[name]
                buffers[name] = value.detach().new_zeros(()).expand(value.shape)
                aside.add(name)
                self.blanks.append((shell, name))
        held: Any = shell.__dict__
        held["_parameters"], held["_buffers"] = parameters, {} if empty else buffers
        held["_non_persistent_buffers_set"] = module._non_persistent_buffers_set | aside
        held["_modules"] = {
            name: None if inner is None else self.of(inner, prefix + name, empty=empty)
            for name, inner in module._modules.items()
        }


def _put(gives: Any, z: Tensor, fill: torch.Generator | None) -> Any:
    """What a call gave, with ``z`` for its first tensor."""
    first = next(leaf for leaf in tree_leaves(gives) if isinstance(leaf, Blank))
    taken = [z]

    def leaf(value: Any) -> Any:
        if value is first and taken:
            return taken.pop()
        return _blank(value, z, fill)

    return tree_map(leaf, gives)


def _blanks(gives: Any, z: Tensor, fill: torch.Generator | None) -> Any:
    return tree_map(lambda value: _blank(value, z, fill), gives)


def _blank(value: Any, z: Tensor, fill: torch.Generator | None) -> Any:
    if isinstance(value, Unknown):
        raise ValueError("what a call gave that is passed over cannot be made again")
    return value.filled(z, fill) if isinstance(value, Blank) else value


def _exchanged(structure: Any, z: Tensor) -> Any:
    """The structure with ``z`` for its first tensor."""
    first = first_tensor(structure)
    return tree_map(lambda leaf: z if leaf is first else leaf, structure)


def first_tensor(output: Any) -> Tensor:
    """The first tensor of a structure."""
    tensor = next(leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
    return tensor


@contextmanager
def replaced(model: nn.Module, cut: Calls, value: str, z: Tensor) -> Iterator[None]:
    """Inside, the call that ends at ``value`` gives ``z`` for its tensor."""
    # a clone, since what learns may not be written to in place
    module = model.get_submodule(value.removesuffix(ENTRY))
    if value.endswith(ENTRY):
        handle = module.register_forward_pre_hook(
            lambda _module, args, kwargs: _exchanged((args, kwargs), z.clone()), with_kwargs=True
        )
    else:
        handle = module.register_forward_hook(
            lambda _module, _args, output: _exchanged(output, z.clone())
        )
    try:
        yield
    finally:
        handle.remove()
