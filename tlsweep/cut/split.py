"""The parts of a model between cut points, as modules that share its parameters and their names."""

from __future__ import annotations

from torch import Tensor, nn

from tlsweep.cut.chain import LeftOut
from tlsweep.cut.points import CutPoint, CutPoints, cut_points
from tlsweep.errors import Fault, Refusal


def section(
    model: nn.Module, cuts: CutPoints, lo: int | CutPoint, hi: int | CutPoint | None
) -> nn.Module:
    """The part of ``model`` from cut point ``lo`` to ``hi``; None: to the model's own output.

    model: any instance of the architecture that ``cuts`` were found in. Sections in a row make up
    the model: ``section(m, cuts, 1, 2)(section(m, cuts, 0, 1)(x))`` is bit for bit
    ``section(m, cuts, 0, 2)(x)`` in eval mode.

    Raises Refusal if ``model`` lacks what the section uses, or none can start at ``lo``; ValueError
    if ``hi`` lies below ``lo``.
    """
    low = cuts[lo] if isinstance(lo, int) else lo
    high = cuts[hi] if isinstance(hi, int) else hi
    if high is not None and high.index < low.index:
        raise ValueError(f"a section from {low.name} up cannot end at {high.name}, below it")
    if high is None or high.index > low.index:
        _refuse_start(low)
    return cuts.anatomy.part(model, low.value, None if high is None else high.value)


def block_of(model: nn.Module, cuts: CutPoints, index: int, top: int) -> nn.Module:
    """What stands for a block, from 0, in a row of blocks that ends at cut point ``top``.

    That is its section. Where no part can start at the block's end, those above it are part of it,
    up to the next start or to ``top``, and in their places stands ``LeftOut``.
    """
    if not cuts[index].starts:
        return LeftOut()
    return section(model, cuts, index, min(cuts.above(index).index, top))


def _refuse_start(low: CutPoint) -> None:
    if not low.starts:
        raise Refusal(
            Fault(
                f"a part of the model that starts at {low.name}",
                "this cut point is good for its prefix only: what follows needs more than what"
                " ends there",
                f'section(model, cuts, 0, cuts.resolve("{low.name}")), the prefix',
            )
        )


def split(
    model: nn.Module, cut: CutPoint | str | int | float, *, example: Tensor | None = None
) -> tuple[nn.Module, nn.Module]:
    """Split ``model`` at ``cut`` into prefix and suffix: ``suffix(prefix(x))`` is ``model(x)``.

    Bit for bit in eval mode, at any batch size. cut: a cut point of ``cut_points(model, example)``,
    or what ``CutPoints.resolve`` takes, and then ``example`` is needed. Both parts share the
    model's parameters. Raises Refusal for an unknown cut point, a model that does not have it, and
    a cut point that is good for its prefix only.
    """
    if not isinstance(cut, CutPoint):
        if example is None:
            raise TypeError(
                "split() with the name of a cut point needs example=, one batch of input"
            )
        cut = cut_points(model, example).resolve(cut, where="cut")
    _refuse_start(cut)
    anatomy = cut.anatomy
    prefix = anatomy.part(model, anatomy.input, cut.value)
    return prefix, anatomy.part(model, cut.value, None)
