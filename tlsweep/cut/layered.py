"""Cut points between the layers of a list, where torch.fx fails: most models of text.

What a model hands from layer to layer besides its activations (a mask, lengths) rides along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from tlsweep.cut.anatomy import FLOAT32_BYTES, Anatomy, PrefixCost
from tlsweep.cut.chain import NOTHING
from tlsweep.cut.parts import install, other_architecture
from tlsweep.cut.points import CutPoint, CutPoints
from tlsweep.cut.stand_in import undisturbed
from tlsweep.errors import Fault, Refusal

Side = Mapping[str, Tensor]
Run = Callable[[nn.Module, Tensor, Side], Tensor]
"""A module, what it is given, and what rides along, to what it makes: tensors [batch, ...]."""
Layer = Callable[..., Tensor]
"""A ``Run`` of one layer. Where layers use more than themselves, that is its fourth argument."""


@dataclass(frozen=True, eq=False)
class Layered(Anatomy):
    """A stem, and a list of layers after it.

    The stem and the end are given a module with what ``stem_uses`` and ``end_uses`` name, under the
    model's own names; a layer is given itself, and what ``layer_uses`` names in the same way.
    paths: of the layers in their order, one several times where the model uses it again.
    """

    way = "layers"
    paths: tuple[str, ...]
    stem: Run
    layer: Layer | None
    stem_uses: tuple[str, ...]
    end: Run | None = None
    end_uses: tuple[str, ...] = ()
    layer_uses: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """How many layers are run through."""
        return len(self.paths)

    @property
    def input(self) -> str:
        """Values are numbered: 0 is the raw input, 1 what the stem makes, the others by layers."""
        return "0"

    def part(self, model: nn.Module, low: str, high: str | None) -> LayeredPart:
        """The stem, if it lies there, and the layers. The model's output is the last layer's."""
        last = self.n + 1 if high is None else int(high)
        try:
            return LayeredPart(model, self, int(low), last)
        except AttributeError as error:
            raise Refusal(other_architecture(model, error)) from error

    def uses(self, block: int) -> tuple[str, ...]:
        """Paths of the modules that a block uses; the stem is block 0."""
        own = self.stem_uses if block == 0 else (self.path(block),)
        own = (*own, *(self.layer_uses if block else ()))
        return (*own, *(self.end_uses if block == self.n else ()))

    def path(self, block: int) -> str:
        """Path of the layer that is block 1, 2, ..."""
        return self.paths[block - 1]

    def name(self, block: int) -> str:
        """What its cut point is called: its path, and which time it is where it is used again."""
        path = self.path(block)
        return path if self.paths.count(path) == 1 else f"{path}.times_{block}"

    def costs(
        self, model: nn.Module, values: Sequence[str], example: Tensor
    ) -> tuple[PrefixCost, ...]:
        """Part by part, on fake tensors."""
        costs = [PrefixCost(0, 0, example[0].numel() * FLOAT32_BYTES)]
        counted: set[int] = set()
        flops = numbers = 0
        with _faked(model) as model:
            z = torch.zeros((1, *example.shape[1:]), dtype=example.dtype, device=example.device)
            for block in range(self.n + 1):
                part = LayeredPart(model, self, block, block + 1)
                with FlopCounterMode(display=False) as counter:
                    z = part(z)
                flops += counter.get_total_flops()
                new = {id(p): p.numel() for p in part.parameters() if id(p) not in counted}
                counted |= new.keys()
                numbers += sum(new.values())
                costs.append(PrefixCost(numbers, flops, z[0].numel() * FLOAT32_BYTES))
        return tuple(costs[int(value)] for value in values)


class LayeredPart(nn.Module):
    """The blocks of a model from one cut point to another.

    Shares the model's parameters, under their names in the model's state_dict.
    """

    def __init__(self, model: nn.Module, anatomy: Layered, low: int, high: int) -> None:
        super().__init__()
        self.training = model.training
        self._anatomy, self._low, self._high = anatomy, low, high
        for block in range(low, high):
            for path in anatomy.uses(block):
                install(model, self, path)

    def forward(self, z: Tensor, side: Side = NOTHING) -> Tensor:
        """[batch, ...] as at the lower cut point to what is at the upper one."""
        cut = self._anatomy
        for block in range(self._low, self._high):
            if block == 0:
                z = cut.stem(self, z, side)
            else:
                assert cut.layer is not None  # without one there are no layers
                more = (self,) if cut.layer_uses else ()
                z = cut.layer(self.get_submodule(cut.path(block)), z, side, *more)
            if block == cut.n and cut.end is not None:
                z = cut.end(self, z, side)
        return z


def layered(
    model: nn.Module,
    example: Tensor,
    *,
    layers: str | None,
    stem: Run,
    layer: Layer | None = None,
    stem_uses: Sequence[str],
    end: Run | None = None,
    end_uses: Sequence[str] = (),
    layer_uses: Sequence[str] = (),
    runs: int | None = None,
    tokens: tuple[int, ...] | None = None,
) -> CutPoints:
    """Cut points after the stem and after each layer of ``model``.

    example: one batch of input; layers: the path of a ``ModuleList``, None where there is a stem
    and nothing else; stem: what the model does
    before its first layer; layer: what it does with one of them; end: what it does with the last
    one's output (a last norm), which belongs to that layer's block; stem_uses, end_uses: paths of
    the modules that these use; layer_uses: of those that each layer uses besides itself (a table
    of positions), which are its fourth argument then; runs: how many layers the model runs through,
    where it uses each of the list several times in a row; tokens: which of the tokens the model
    itself pools (a class token is ``(0,)``, the last token that is there ``(-1,)``), None for all.
    The functions are those of a module, so that cut points can be
    pickled. Channels come last. Leaves ``model`` as it was.

    Raises Refusal where the model has no such list, or does not take the example.

    Example::

        layered(
            bert, ids, layers="encoder.layer", stem_uses=["embeddings"],
            stem=lambda part, ids_bt, side: part.embeddings(ids_bt),
            layer=lambda one, z_btd, side: one(z_btd, side["mask"][:, None, None].log()),
        )
    """
    length = 0 if layers is None else _length(model, layers)
    n = length if runs is None else runs
    paths = tuple(f"{layers}.{int(i / (n / length))}" for i in range(n))  # as ALBERT rounds
    uses = tuple(end_uses), tuple(layer_uses)
    anatomy = Layered(paths, stem, layer, tuple(stem_uses), end, *uses)
    shapes = _shapes(model, anatomy, example)
    names = [stem_uses[0], *(anatomy.name(block) for block in range(1, n + 1))]
    points = [CutPoint(0, "input", ("none",), shapes[0], 1, None, "0", anatomy)]
    for index, (name, shape) in enumerate(zip(names, shapes[1:], strict=True), start=1):
        aliases = ("all",) if index == n + 1 else ()
        pooled = tokens if len(shape) == 2 else None
        points.append(
            CutPoint(index, name, aliases, shape, len(shape), pooled, str(index), anatomy)
        )
    return CutPoints(points)


@contextmanager
def _faked(model: nn.Module) -> Iterator[nn.Module]:
    with undisturbed(model) as copied, FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        yield copied


def _length(model: nn.Module, layers: str) -> int:
    try:
        found = model.get_submodule(layers)
    except AttributeError:
        found = None
    if isinstance(found, nn.ModuleList) and len(found):
        return len(found)
    lists = [name for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m)]
    raise Refusal(
        Fault(
            f"{type(model).__name__}: no layers at {layers}",
            f"a model is cut between the layers of a ModuleList: {', '.join(lists) or 'none'}",
            f"layers={lists[0]!r}" if lists else "cut_points(model, example), which traces it",
        )
    )


def _shapes(model: nn.Module, anatomy: Layered, example: Tensor) -> list[tuple[int, ...]]:
    """The shape of every cut point, without batch."""
    shapes = [tuple(example.shape[1:])]
    try:
        with _faked(model) as model:
            z = torch.zeros_like(example)
            for block in range(anatomy.n + 1):
                z = LayeredPart(model, anatomy, block, block + 1)(z)
                shapes.append(tuple(z.shape[1:]))
    except Refusal:
        raise
    except Exception as error:  # a forward can fail in any way it likes
        lines = str(error).strip().splitlines()
        raise Refusal(
            Fault(
                f"{type(model).__name__} on an input of shape {tuple(example.shape)}:"
                f" {type(error).__name__}: {lines[0] if lines else ''}",
                "a stem and its layers take a batch of any size, with nothing riding along too",
                "the functions that are given as stem=, layer= and end=",
            )
        ) from error
    return shapes
