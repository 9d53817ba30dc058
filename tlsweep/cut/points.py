"""Cut points: found in any model that can be traced, named, and looked up as users write them."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, overload

from torch import Tensor, nn

from tlsweep.cut import groups
from tlsweep.cut.anatomy import Anatomy
from tlsweep.cut.blocks import whole_blocks
from tlsweep.cut.calls import between_calls, known_values, whole
from tlsweep.cut.channels import at_another_size, channel_dim
from tlsweep.cut.classifier import has_classifier
from tlsweep.cut.flow import Flow, find_flow
from tlsweep.cut.observe import Observation
from tlsweep.cut.tokens import Value, pooled_tokens
from tlsweep.cut.trace import Trace, trace
from tlsweep.cut.traced import Traced
from tlsweep.errors import Fault, Refusal, unknown_name

Level = Literal["block", "fine"]


@dataclass(frozen=True)
class CutPoint:
    """A place where one tensor carries all data flow from input to output.

    index: 0 is the raw input, the last one everything before the classifier; name: path of the
    block that ends there; aliases: other names for it; shape: of the tensor for one example,
    without batch; channel_dim: the dimension that counts channels, with the batch as dimension 0;
    tokens: where channels and tokens are all there is, which of the tokens the model itself pools
    (a class token is one), None for all; value: the step of ``anatomy`` that makes the tensor;
    starts: whether a part can start there, so that the suffix is exact. Where none can, the cut
    point is good for its prefix only: a head may stand there.
    """

    index: int
    name: str
    aliases: tuple[str, ...]
    shape: tuple[int, ...]
    channel_dim: int
    tokens: tuple[int, ...] | None
    value: str = field(repr=False)
    anatomy: Anatomy = field(repr=False, compare=False)
    starts: bool = True

    @property
    def all_names(self) -> tuple[str, ...]:
        """The name and the aliases."""
        return (self.name, *self.aliases)


class CutPoints(Sequence[CutPoint]):
    """The cut points 0..L of one architecture, from the input up. Immutable, picklable.

    They hold no parameters: they serve every instance of the architecture they were found in.
    Those that are good for their prefix only count among them, but for 0 and L, where a part can
    always start.
    """

    def __init__(self, points: Sequence[CutPoint], said: Sequence[str] = ()) -> None:
        """said: what a user should know of them, a sentence each."""
        self._points, self.said = tuple(points), tuple(said)

    @property
    def way(self) -> str:
        """How they were found: "fx" (traced), "calls" (of modules), "layers" (named)."""
        return self[0].anatomy.way

    @overload
    def __getitem__(self, index: int) -> CutPoint: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[CutPoint, ...]: ...
    def __getitem__(self, index: int | slice) -> CutPoint | tuple[CutPoint, ...]:
        return self._points[index]

    def __len__(self) -> int:
        return len(self._points)

    def __iter__(self) -> Iterator[CutPoint]:
        return iter(self._points)

    def __repr__(self) -> str:
        return f"CutPoints({', '.join(point.name for point in self)})"

    @property
    def anatomy(self) -> Anatomy:
        """What the cut points share."""
        return self._points[0].anatomy

    @property
    def n_blocks(self) -> int:
        """L, the number of blocks: the index of the last cut point."""
        return len(self._points) - 1

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every cut point, from the input up."""
        return tuple(point.name for point in self)

    def resolve(self, text: str | int | float, where: str = "plan.keep") -> CutPoint:
        """The cut point that a user wrote: name, alias, index, fraction, ``all`` or ``none``.

        text: ``layer3.0``, or the end of a name that no other has (``encoder_layer_3``), ``5``
        (from the input up) or ``0.5`` (of L, to the nearest index, halves up), as text or as a
        number; where: the config key, for the message. Raises Refusal.
        """
        if isinstance(text, str) and (found := self.called(text)):
            return found
        number = _number(text)
        if isinstance(number, int):
            return self._at(number, text, where)
        if isinstance(number, float):
            return self._fraction(number, text, where)
        raise Refusal(unknown_name("cut point", where, str(text), self._known()))

    def called(self, text: str) -> CutPoint | None:
        """The cut point of this name or alias, or the one whose name ends in it; None if none."""
        for point in self:
            if text in point.all_names:
                return point
        if _number(text) is not None:
            return None  # an index or a fraction, though names may end in it
        ends = [p for p in self if any(name.endswith(f".{text}") for name in p.all_names)]
        return ends[0] if len(ends) == 1 else None

    def below(self, index: int) -> CutPoint:
        """The nearest cut point, from this one down, at which a part can start."""
        return next(point for point in reversed(self[: index + 1]) if point.starts)

    def above(self, index: int) -> CutPoint:
        """The nearest cut point above this one at which a part can start."""
        return next(point for point in self[index + 1 :] if point.starts)

    def match(self, pattern: str) -> list[CutPoint]:
        """The cut points with a name or alias that matches a glob (``layer*``, ``*.0``)."""
        return [
            point
            for point in self
            if any(fnmatch.fnmatchcase(name, pattern) for name in point.all_names)
        ]

    def _known(self) -> list[str]:
        return [name for point in self for name in point.all_names]

    def _at(self, index: int, text: object, where: str) -> CutPoint:
        if 0 <= index <= self.n_blocks:
            return self[index]
        raise Refusal(
            Fault(
                f"{where}={text}",
                f"the index of a cut point lies between 0 (none) and {self.n_blocks} (all)",
                f"{where}={min(max(index, 0), self.n_blocks)}",
            )
        )

    def _fraction(self, fraction: float, text: object, where: str) -> CutPoint:
        if 0 <= fraction <= 1:
            return self[int(fraction * self.n_blocks + 0.5)]
        raise Refusal(
            Fault(
                f"{where}={text}",
                "a number with a point is a fraction of the blocks, between 0.0 and 1.0",
                f"{where}={'0.0' if fraction < 0 else '1.0'}, or an index without a point",
            )
        )


def _number(text: str | int | float) -> int | float | None:
    if isinstance(text, bool):
        return None
    if isinstance(text, int | float):
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return None


def cut_points(
    model: nn.Module, example: Tensor, *, level: Level = "block", classifier: bool | None = None
) -> CutPoints:
    """Find the cut points of ``model``.

    example: one batch of input, any batch size; only shape, dtype and device are looked at. Nothing
    is computed but, for models of tokens, what shows which of them are pooled. level: "block" never
    cuts inside a block and joins norm, activation and dropout to what they follow; "fine" gives
    every single tensor that all data flows through, up to the classifier. classifier: whether the
    model's last work is a classifier, which is left out; None: found out (``classifier.py``).
    Leaves ``model`` as it was. Where its forward asks for the sizes of tensors, cut points hold
    for inputs of the example's shape.

    Where a forward with further blocks inside branches on ``training`` (auxiliary heads), the parts
    between cut points take the eval branch in either mode.

    A model that torch.fx cannot trace is run on a few inputs, and is cut between calls of its
    modules, where that is seen to be exact (``calls.py``); where only what lies below is, the cut
    point is one for its prefix only. A model without a place to cut is one block.

    Raises Refusal if the model cannot take the example, or has no place to cut.
    """
    _refuse_example(model, example)
    try:
        traced = trace(model, example=example)
    except Exception as error:  # a forward can fail under tracing in any way it likes
        return _of_calls(model, example, level, classifier, _first_line(error))
    opaque = sorted(traced.opaque)
    traced, flow, seen, headed = _dissect(model, example, level, traced)
    found = groups.segments(traced.program, model, flow, seen)
    if headed if classifier is None else classifier:
        found = groups.below_classifier(found)
    found = [segment for segment in found if segment.end is not None]
    if level == "block":
        merged = groups.merge(found)
        values = [group.ends[-1] for group in merged]
        named = groups.names(merged, traced, model)
    else:
        values = [segment.end for segment in found if segment.end is not None]
        named = groups.fine_names(values, traced)
    if not values and opaque:
        why = f"{opaque[0]} cannot be looked into"
        return _of_calls(model, example, level, classifier, why)
    if not values:
        raise Refusal(_nowhere(model))
    anatomy = Traced(traced.program, flow, _shapes(flow, seen) if traced.program.sized else {})
    known = _known_values(anatomy, model, example, seen)
    return CutPoints(
        _points(anatomy, known, [traced.program.input, *values], named, model, example)
    )


def _dissect(
    model: nn.Module, example: Tensor, level: Level, traced: Trace
) -> tuple[Trace, Flow, Observation, bool]:
    """The forward pass block by block, what is known of it, and whether a classifier ends it."""
    try:
        flow, seen = find_flow(traced.program, model, example, count=True)
        headed = has_classifier(model, traced, flow, seen)
        if level == "block":
            traced = trace(model, whole_blocks(model, traced.calls, flow.articulations), example)
            flow, seen = find_flow(traced.program, model, example, count=True)
    except Exception as error:  # likewise, when it is given the example
        raise Refusal(_does_not_run(model, example, error)) from error
    return traced, flow, seen, headed


def _of_calls(
    model: nn.Module, example: Tensor, level: Level, classifier: bool | None, why: str
) -> CutPoints:
    """The cut points between calls of modules. why: torch.fx does not find them."""
    try:
        found = between_calls(model, example, fine=level == "fine", classifier=classifier)
        found = found if found.values else whole(model, example) or found
    except Exception as error:  # a forward can fail in any way it likes
        raise Refusal(_does_not_run(model, example, error)) from error
    if not found.values:
        raise Refusal(_nowhere(model))
    anatomy, values = found.anatomy, [found.anatomy.input, *found.values]
    known = {value.name: value for value in known_values(model, found, example)}
    points = _points(anatomy, known, values, found.named, model, example)
    return CutPoints(points, found.said(type(model).__name__, why))


def _shapes(flow: Flow, seen: Observation) -> dict[str, tuple[int, ...]]:
    shapes = {name: seen.sights[name].shape for name in flow.articulations}
    return {name: shape[1:] for name, shape in shapes.items() if shape is not None}


def _points(
    anatomy: Anatomy,
    known: Mapping[str, Value],
    values: list[str],
    named: list[tuple[str, ...]],
    model: nn.Module,
    example: Tensor,
) -> list[CutPoint]:
    """values, named: of the anatomy, the input first, and the names of all but the input."""
    named = [("input", "none"), *named[:-1], (*named[-1], "all")]
    tokens = pooled_tokens(model, anatomy, list(known.values()), example)
    return [
        CutPoint(
            index,
            name,
            tuple(aliases),
            known[value].shape,
            known[value].channel_dim,
            tokens.get(value),
            value,
            anatomy,
            known[value].starts,
        )
        for index, (value, (name, *aliases)) in enumerate(zip(values, named, strict=True))
    ]


def _known_values(
    anatomy: Traced, model: nn.Module, example: Tensor, seen: Observation
) -> dict[str, Value]:
    """All articulations by name, from the input up."""
    other = at_another_size(anatomy.program, model, example)
    places = {step.name: i for i, step in enumerate(anatomy.program.steps, start=1)}
    known = {}
    for name in anatomy.flow.articulations:
        shape = seen.sights[name].shape
        assert shape is not None
        dim = channel_dim(name, places.get(name, 0), seen, other)
        known[name] = Value(name, shape[1:], dim)
    return known


def _refuse_example(model: nn.Module, example: object) -> None:
    """Raise Refusal where the forward does not take one tensor."""
    name, mend = type(model).__name__, "cut_points(model, tensor), one batch"
    if not isinstance(example, Tensor):
        rule = "a model is cut from its one input, a tensor, up"
        raise Refusal(
            Fault(f"{name} with an example that is a {type(example).__name__}", rule, mend)
        )
    if not example.ndim:
        rule = "an example is a batch: its first dimension counts examples"
        raise Refusal(Fault(f"{name} with an example without dimensions", rule, mend))
    wanted = [
        p.name
        for p in inspect.signature(model.forward).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(wanted) > 1:
        rule = "a model is cut from its one input up; what else its forward takes has a default"
        what = f"{name}.forward takes {len(wanted)} inputs: {', '.join(wanted)}"
        mend = "a module around it that takes one tensor and makes the others"
        raise Refusal(Fault(what, rule, mend))


def _does_not_run(model: nn.Module, example: Tensor, error: Exception) -> Fault:
    return Fault(
        f"{type(model).__name__} on an input of shape {tuple(example.shape)}: {_first_line(error)}",
        "the example is a batch that the model takes, at any batch size",
        "an example of the shape, dtype and device that the model is used with",
    )


def _nowhere(model: nn.Module) -> Fault:
    return Fault(
        f"{type(model).__name__} has no cut point besides its input",
        "between the input and the classifier there is a place where one floating-point tensor, "
        "batch first, carries all data flow",
        "a model with at least one block below its classifier",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
