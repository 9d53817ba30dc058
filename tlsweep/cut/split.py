"""The parts of a model between cut points, as modules that share its parameters and their names."""

from __future__ import annotations

from torch import Tensor, nn

from tlsweep.cut.points import CutPoint, CutPoints, cut_points


def section(
    model: nn.Module, cuts: CutPoints, lo: int | CutPoint, hi: int | CutPoint | None
) -> nn.Module:
    """The part of ``model`` from cut point ``lo`` to ``hi``; None: to the model's own output.

    model: any instance of the architecture that ``cuts`` were found in. Sections in a row make up
    the model: ``section(m, cuts, 1, 2)(section(m, cuts, 0, 1)(x))`` is bit for bit
    ``section(m, cuts, 0, 2)(x)`` in eval mode.

    Raises Refusal if ``model`` lacks what the section uses, ValueError if ``hi`` lies below ``lo``.
    """
    low = cuts[lo] if isinstance(lo, int) else lo
    high = cuts[hi] if isinstance(hi, int) else hi
    if high is not None and high.index < low.index:
        raise ValueError(f"a section from {low.name} up cannot end at {high.name}, below it")
    return cuts.anatomy.part(model, low.value, None if high is None else high.value)


def split(
    model: nn.Module, cut: CutPoint | str | int | float, *, example: Tensor | None = None
) -> tuple[nn.Module, nn.Module]:
    """Split ``model`` at ``cut`` into prefix and suffix: ``suffix(prefix(x))`` is ``model(x)``.

    Bit for bit in eval mode, at any batch size. cut: a cut point of ``cut_points(model, example)``,
    or what ``CutPoints.resolve`` takes, and then ``example`` is needed. Both parts share the
    model's parameters. Raises Refusal for an unknown cut point or a model that does not have it.
    """
    if not isinstance(cut, CutPoint):
        if example is None:
            raise TypeError(
                "split() with the name of a cut point needs example=, one batch of input"
            )
        cut = cut_points(model, example).resolve(cut, where="cut")
    anatomy = cut.anatomy
    prefix = anatomy.part(model, anatomy.input, cut.value)
    return prefix, anatomy.part(model, cut.value, None)
