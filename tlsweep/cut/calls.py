"""Cut points between calls of modules, for models that torch.fx cannot trace.

A few recorded runs say which calls give all that is read after them; each is then tried: what the
rest of the model makes of it alone has to be, bit for bit, what the model answers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from tlsweep.cut import groups
from tlsweep.cut.beside import rows_beside
from tlsweep.cut.blocks import whole_blocks
from tlsweep.cut.called import ENTRY, INPUT, OUTPUT, Blank, Calls, Known, Unknown
from tlsweep.cut.channels import channel_dim, more
from tlsweep.cut.groups import Group, Segment
from tlsweep.cut.observe import Observation, Sight
from tlsweep.cut.program import Program, Step
from tlsweep.cut.recording import Called, Recording, record, storage
from tlsweep.cut.shadow import BATCHES
from tlsweep.cut.stand_in import undisturbed
from tlsweep.cut.tokens import Value
from tlsweep.cut.trace import Call, Trace, has_own_forward
from tlsweep.cut.tried import inexact
from tlsweep.cut.work import Work, kind_of

_WORK = ("mm", "conv", "attention", "max_pool")
_AFTER_A_CLASSIFIER = {"_log_softmax", "_softmax", "sigmoid", "view", "squeeze", "detach", "alias"}


@dataclass(frozen=True)
class Found:
    """What there is to cut between calls.

    named: the names of each cut point but the input; values: of the anatomy; prefix_only: those at
    which the rest of the model is not exact, while what lies below them is; left_out: places that
    look like cut points, and at which neither is; runs: of the model, the last one on the example.
    """

    anatomy: Calls
    named: list[tuple[str, ...]]
    values: list[str]
    prefix_only: frozenset[str]
    left_out: tuple[str, ...]
    runs: list[Recording]

    def said(self, model: str, why: str) -> list[str]:
        """What a user should know of it. model: its name; why: torch.fx does not find them."""
        if self.values == [OUTPUT]:
            how = "no call of a module in it carries all data, so it is kept whole, as one block"
        else:
            how = "it is cut between calls of its modules, where that was seen to be exact"
        said, more = [f"{model} is not traced ({why[:160]}): {how}"], "what follows needs more"
        if self.prefix_only:
            pairs = zip(self.values, self.named, strict=True)
            names = ", ".join(name[0] for value, name in pairs if value in self.prefix_only)
            said.append(
                f"cut points of {model} that are good for their prefix only:"
                f" {len(self.prefix_only)} ({names}); {more} than what ends there, so a head may"
                " stand on it, and nothing else may start there"
            )
        if self.left_out:
            names = ", ".join(self.left_out)
            said.append(f"{model} is not cut at {names}: {more} than what ends there")
        return said


def between_calls(
    model: nn.Module, example: Tensor, *, fine: bool, classifier: bool | None
) -> Found:
    """The places between calls at which ``model`` can be cut; values are empty if there are none.

    Where the rest of the model is not exact, the place is tried for its prefix. The last place is
    always one at which the rest is exact: the model's own classifier stands on it.
    Raises what the model's own forward raises. Leaves ``model`` as it was.
    """
    inputs = probes(example)
    with undisturbed(model) as quiet:
        runs = [record(quiet, x) for x in inputs]
        seen = _Seen(quiet, runs, fine)
        headed = seen.ends_in_a_classifier() if classifier is None else classifier
        places = seen.below_classifier() if headed else seen.places()
        merged = _groups(seen, places, fine)
        trace = seen.as_trace(places)
        named = _fine_names(merged) if fine else groups.names(merged, trace, quiet)
        values = {group.ends[-1]: names for group, names in zip(merged, named, strict=True)}
        left_out, wrong, prefix_only = list[str](), list[str](), seen.beside & values.keys()
        while True:
            gone = prefix_only.intersection(wrong) | _on_top(values, prefix_only.union(wrong))
            prefix_only = prefix_only.union(wrong) - gone
            left_out += [values.pop(value)[0] for value in list(values) if value in gone]
            anatomy = seen.anatomy(example, list(values))
            wrong, anatomy = inexact(quiet, anatomy, inputs, prefix_only)
            if not wrong:
                break
    named, kept = list(values.values()), list(values)
    return Found(anatomy, named, kept, frozenset(prefix_only), tuple(left_out), runs)


def _fine_names(ends: Iterable[Group]) -> list[tuple[str, ...]]:
    """Of each place its module's path; of what the classifier is given, "before" it."""
    paths = [group.ends[-1] for group in ends]
    taken = {"input": "input:2"} | {
        p: f"before.{p.removesuffix(ENTRY)}" for p in paths if ENTRY in p
    }
    return [(groups.shown(taken.get(path, path)),) for path in paths]


def _on_top(values: Iterable[str], prefix_only: Collection[str]) -> set[str]:
    """The values above the last one that is more than a prefix's end."""
    return set(takewhile(prefix_only.__contains__, reversed(list(values))))


def whole(model: nn.Module, example: Tensor) -> Found | None:
    """The model as one block; None where its output is no tensor of features."""
    with undisturbed(model) as quiet:
        runs = [record(quiet, x) for x in probes(example)]
        seen = _Seen(quiet, runs, False)
        if not all(_carries(run, run.calls[0]) for run in runs):
            return None
        return Found(seen.anatomy(example, [OUTPUT]), [("whole",)], [OUTPUT], frozenset(), (), runs)


def probes(example: Tensor) -> list[Tensor]:
    """Inputs that a forward may branch on: above zero, below, both ways, and the example."""
    generator = torch.Generator().manual_seed(0)
    sizes = example.shape[1:]
    if not example.is_floating_point():
        drawn = [torch.randint(2, (n, *sizes), generator=generator) for n in (*BATCHES, BATCHES[0])]
        return [*(x.to(example) for x in drawn), example]
    above, below, mixed = (
        torch.randn((n, *sizes), generator=generator).to(example) for n in (*BATCHES, BATCHES[0])
    )
    return [above.abs(), -below.abs(), mixed, example]


class _Seen:
    """What several recorded runs of one model have in common."""

    def __init__(self, model: nn.Module, runs: list[Recording], fine: bool) -> None:
        self.model, self.runs = model, runs
        self.modules = dict(model.named_modules())
        times = [_by_path(run) for run in runs]
        # one that is called twice, or not always, ends at no one place
        self.carriers = {
            path
            for path, calls in times[0].items()
            if all(len(other.get(path, ())) == 1 for other in times)
            and all(_carries(run, t[path][0]) for run, t in zip(runs, times, strict=True))
            and len(calls) == 1
        }
        # of these only the prefix can be right
        self.beside = rows_beside(self.modules, runs, times) - self.carriers
        self.ends = self.carriers | self.beside
        # torch's own layers are looked into as little as torch.fx does
        layers = {path for path, module in self.modules.items() if _is_layer(module)} - {OUTPUT}
        self.times = times
        self.blocks = frozenset(layers) if fine else self._blocks() | layers
        self.holders = {
            run.calls[i].path
            for run in runs
            for call in run.calls
            if call.path in self.ends and not self._in_block(run, call)
            for i in call.inside
        }

    def _blocks(self) -> frozenset[str]:
        run = self.runs[0]
        ends = [_held(call) for call in run.calls if call.path in self.ends]
        found = whole_blocks(self.model, self.as_trace().calls, ends)
        return found - {OUTPUT}

    def _in_block(self, run: Recording, call: Called) -> bool:
        return any(run.calls[i].path in self.blocks for i in call.inside)

    def outer(self, run: Recording) -> list[Called]:
        """The calls of a run that are told apart: of holders, and what these call."""
        return [
            call
            for call in run.calls
            if all(run.calls[i].path in self.holders for i in call.inside)
        ]

    def as_trace(self, places: Iterable[Called] = ()) -> Trace:
        """The calls of the first run, as those of a trace, the inner ones first.

        What they gave is named by the place that gave it, else by what holds it.
        """
        calls = sorted(self.runs[0].calls, key=lambda call: call.end)
        gave = {(id(place.tensor), place.version): place.path for place in places}
        found = tuple(
            Call(c.path, c.start, c.end, gave.get((id(c.tensor), c.version), _held(c)))
            for c in calls
            if _held(c)
        )
        return Trace(Program(INPUT, (), None, {}), found, {}, frozenset())

    def places(self) -> list[Called]:
        """The calls at whose ends the model may be cut, in their order; of one tensor the first."""
        ended = sorted(self.outer(self.runs[0]), key=lambda call: call.end)
        found: list[Called] = []
        for call in ended:
            same = found and call.tensor is found[-1].tensor and call.version == found[-1].version
            if call.path in self.ends and not same:
                found.append(call)
        return found

    @property
    def last(self) -> Called | None:
        """The last call of a module that has parameters."""
        outer = [c for c in self.outer(self.runs[0]) if c.path not in self.holders]
        working = [c for c in outer if any(True for _ in self.modules[c.path].parameters())]
        return max(working, key=lambda call: call.end, default=None)

    def ends_in_a_classifier(self) -> bool:
        """Whether the last of the work is a linear layer's, and nothing but probabilities after."""
        last, run = self.last, self.runs[0]
        if last is None or not isinstance(self.modules[last.path], nn.Linear):
            return False
        after = {name for moment, name in run.operations if moment >= last.end}
        return after <= _AFTER_A_CLASSIFIER and last.path in self.carriers

    def below_classifier(self) -> list[Called]:
        """The places below the last work; what it is given is the last of them."""
        last = self.last
        if last is None:
            return []
        places = [place for place in self.places() if place.end <= last.start]
        entries = [calls[last.path][0] for calls in self.times]
        carries = all(
            len(calls[last.path]) == 1 and run.carries(_given(entry), entry.start)
            for run, calls, entry in zip(self.runs, self.times, entries, strict=True)
        )
        given = _given(last)
        if carries and not (places and places[-1].tensor is given):
            inside, value = last.inside, last.path + ENTRY
            places.append(Called(value, last.start, inside, (), last.start, given))
        return places

    def anatomy(self, example: Tensor, values: Sequence[str]) -> Calls:
        """The calls, and in which of the parts between these values they lie."""
        ends = [[_moment(calls, value) for value in values] for calls in self.times]
        holders = {
            run.calls[i].path
            for run in self.runs
            for call in run.calls
            if call.path in values or call.path + ENTRY in values
            for i in call.inside
        } | {OUTPUT}
        called: dict[str, list[tuple[int, Called]]] = {}
        for n, run in enumerate(self.runs):
            for call in run.calls:
                if all(run.calls[i].path in holders for i in call.inside):
                    called.setdefault(call.path, []).append((n, call))
        known = {path: self._known(path, calls, ends) for path, calls in called.items()}
        return Calls(
            (INPUT, *values),
            known,
            frozenset(holders),
            self._used(ends),
            tuple(example.shape[1:]),
            example.dtype,
        )

    def _known(self, path: str, calls: list[tuple[int, Called]], ends: list[list[int]]) -> Known:
        parts = {
            part
            for n, call in calls
            for part in range(_part(call.start, ends[n]), _part(call.end - 1, ends[n]) + 1)
        }
        parts |= {_part(call.end, ends[n]) for n, call in calls if call.inside == ()}
        gives = _template([(self.runs[n].batch, call.output) for n, call in calls])
        return Known(frozenset(parts), gives, self._portable(path, [c for n, c in calls if n != 1]))

    def _portable(self, path: str, calls: list[Called]) -> bool:
        """Whether a module gives the same whatever the input holds."""
        some = any(True for _ in self.modules[path].parameters())
        first = calls[0]
        same = [c for c in calls if c.tensor is not None and _alike(c.output, first.output)]
        if first.tensor is None or len(same) != len(calls) or len(self.runs) < 2:
            return False
        return not some or all(_alike(c.given, first.given) for c in calls)

    def _used(self, ends: list[list[int]]) -> dict[str, frozenset[int]]:
        named: list[tuple[str, Tensor]] = [*self.model.named_parameters(remove_duplicate=False)]
        named += [*self.model.named_buffers(remove_duplicate=False)]
        return {
            name: frozenset(
                _part(moment, ends[n])
                for n, run in enumerate(self.runs)
                for moment in run.used.get(storage(value), ())
            )
            for name, value in named
        }


def _carries(run: Recording, call: Called) -> bool:
    return run.carries(call.tensor, call.end)


def _given(call: Called) -> Tensor | None:
    return call.given[0] if call.given else None


def _moment(calls: Mapping[str, list[Called]], value: str) -> int:
    """When a value is there: at the end of a call, or at its beginning."""
    path = value.removesuffix(ENTRY)
    return calls[path][0].start if value.endswith(ENTRY) else calls[path][0].end


def _part(moment: int, ends: Sequence[int]) -> int:
    return sum(end <= moment for end in ends)


def _groups(seen: _Seen, places: Sequence[Called], fine: bool) -> list[Group]:
    """The places, and which of them share a cut point."""
    run, before = seen.runs[0], -1
    segments = []
    rank = 4
    units = [c for c in seen.outer(run) if c.path not in seen.holders]
    for place in places:
        inside = [c for c in units if before <= c.start and c.end <= place.end]
        kinds = [(c.path, _kind(seen.modules[c.path])) for c in inside]
        main = [Step(path, "call_module", path) for path, kind in kinds if kind is Work.MAIN]
        worked = [m for m, name in run.operations if before <= m < place.end and _is_work(name)]
        alone = [m for m in worked if not any(c.start <= m < c.end for c in units)]
        if alone and not main:
            main = [Step(place.path, "call_function", f"before.{place.path.removesuffix(ENTRY)}")]
        ndim = 0 if place.tensor is None else place.tensor.ndim
        flat = rank > 2 and ndim == 2
        pools = not main and (flat or any(kind is Work.POOL for _, kind in kinds))
        segments.append(Segment(place.path, [], main, pools))
        before, rank = place.end, ndim
    if fine:
        return [Group([str(s.end)], s.main, s.pools) for s in segments]
    return groups.merge(segments)


def _is_work(name: str) -> bool:
    return any(word in name for word in _WORK)


def _kind(module: nn.Module) -> Work:
    name = type(module).__name__.lower()
    own = has_own_forward(module) and any(True for _ in module.parameters())
    return Work.MAIN if own and "norm" not in name else kind_of(name, module, False)


def _is_layer(module: nn.Module) -> bool:
    own = type(module).__module__.startswith("torch.nn.")
    return own and not isinstance(module, nn.Sequential | nn.TransformerEncoder)


def _by_path(run: Recording) -> dict[str, list[Called]]:
    found: dict[str, list[Called]] = {}
    for call in run.calls:
        found.setdefault(call.path, []).append(call)
    return found


def _held(call: Called) -> str:
    """A name of what holds a call's tensor; none where it gave no tensor."""
    return "" if call.tensor is None else str(storage(call.tensor))


def _alike(one: Any, other: Any) -> bool:
    """Whether two structures hold the same numbers, up to the size of the batch."""
    a, b = tree_leaves(one), tree_leaves(other)
    return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    return bool(isinstance(one, Tensor) == isinstance(other, Tensor) and one is other)


def known_values(model: nn.Module, found: Found, example: Tensor) -> list[Value]:
    """The tensors at the cut points, from the input up."""
    seen, other = _observed(found.runs[-1], example), None
    batch, channels, *sizes = example.shape
    if sizes and example.is_floating_point():
        grown = torch.zeros(batch, channels, *(size + more(i) for i, size in enumerate(sizes)))
        try:
            with undisturbed(model) as quiet:
                other = _observed(record(quiet, grown.to(example)), grown)
        except Exception:  # it is the model's own forward that refuses, each in its own way
            other = None
    times = _by_path(found.runs[-1])
    known = []
    for value in (INPUT, *found.values):
        shape = seen.sights[value].shape
        assert shape is not None
        dim = channel_dim(value, 0 if value == INPUT else _moment(times, value), seen, other)
        known.append(Value(value, shape[1:], dim, value not in found.prefix_only))
    return known


def _observed(run: Recording, x: Tensor) -> Observation:
    """The tensors that calls gave, as a fake run would have seen them."""
    sights = {INPUT: Sight(tuple(x.shape), None, True, True)}
    for call in run.calls:
        if call.tensor is not None:
            sights[call.path] = Sight(tuple(call.tensor.shape), None, True, True)
        if (given := _given(call)) is not None:
            sights[call.path + ENTRY] = Sight(tuple(given.shape), None, True, True)
    return Observation(run.batch, sights, run.readings)


# ---------------------------------------------------------------------- blanks
def _template(given: Iterable[tuple[int, Any]]) -> Any:
    """What calls gave, by the batch of their runs, with blanks for its tensors."""
    given = list(given)
    leaves = [tree_leaves(output) for _, output in given]
    if len({len(some) for some in leaves}) != 1:
        return Unknown()
    batches = [batch for batch, _ in given]
    made = iter([_blank(batches, list(some)) for some in zip(*leaves, strict=True)])
    return tree_map(lambda _: next(made), given[0][1])


def _blank(batches: list[int], values: list[Any]) -> Any:
    if not all(isinstance(value, Tensor) for value in values):
        plain = isinstance(values[0], int | float | str | type(None))
        return values[0] if plain and all(v == values[0] for v in values) else Unknown()
    first: Tensor = values[0]
    shapes = [tuple(value.shape) for value in values]
    if len({shape[1:] for shape in shapes}) != 1 or len({len(shape) for shape in shapes}) != 1:
        return Unknown()
    if len(set(shapes)) == 1 and (len(set(batches)) > 1 or not first.ndim):
        return Blank(shapes[0], None, first.dtype)
    times = {shape[0] / batch for shape, batch in zip(shapes, batches, strict=True)}
    whole = len(times) == 1 and next(iter(times)) == int(next(iter(times)))
    return Blank(shapes[0][1:], int(times.pop()), first.dtype) if whole else Unknown()
