"""A model that is cut as its trunk alone is, with a classifier of its own above the last cut point.

Where the trunk is cut, and what a cut point is called, does not depend on the classifier.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from tlsweep.cut.anatomy import Anatomy, PrefixCost
from tlsweep.cut.chain import NOTHING, through
from tlsweep.cut.layered import Run, Side
from tlsweep.cut.parts import other_architecture
from tlsweep.cut.points import CutPoints
from tlsweep.errors import Refusal


class Classified(nn.Module):
    """A trunk, and the parts of a classifier.

    run: what the model does with these parts and what the trunk makes, the first that it answers.
    """

    def __init__(self, trunk: nn.Module, own: nn.Module, run: Run) -> None:
        super().__init__()
        self.trunk, self.own, self.run = trunk, own, run

    def forward(self, x: Tensor) -> Tensor:
        """[batch, ...] to [batch, classes]."""
        return self.run(self.own, self.trunk(x)[0], NOTHING)


@dataclass(frozen=True, eq=False)
class ClassifiedCuts(Anatomy):
    """An anatomy of the trunk. last: its last value, which the classifier is given."""

    trunk: Anatomy
    last: str
    run: Run

    @property
    def way(self) -> Literal["fx", "calls", "layers"]:
        """The trunk's."""
        return self.trunk.way

    @property
    def input(self) -> str:
        """The trunk's."""
        return self.trunk.input

    def part(self, model: nn.Module, low: str, high: str | None) -> nn.Module:
        """The trunk's part, and above its last value the classifier."""
        trunk, own = _parts(model)
        if high is not None:
            return self.trunk.part(trunk, low, high)
        below = None if low == self.last else self.trunk.part(trunk, low, self.last)
        return _Top(below, own, self.run)

    def costs(
        self, model: nn.Module, values: Sequence[str], example: Tensor
    ) -> tuple[PrefixCost, ...]:
        """The trunk's: no prefix holds the classifier."""
        return self.trunk.costs(_parts(model)[0], values, example)


class _Top(nn.Module):
    """What the trunk has above a cut point, if anything, and the classifier."""

    def __init__(self, below: nn.Module | None, own: nn.Module, run: Run) -> None:
        super().__init__()
        self.training = own.training
        self.below, self.own, self._run = below, own, run

    def forward(self, z: Tensor, side: Side = NOTHING) -> Tensor:
        """[batch, ...] as at the cut point to [batch, classes]."""
        if self.below is not None:
            z = through(self.below, z, side)
        return self._run(self.own, z, side)


def classified(cuts: CutPoints, run: Run) -> CutPoints:
    """The cut points ``cuts`` of a trunk, for a ``Classified`` around it with this ``run``."""
    anatomy = ClassifiedCuts(cuts.anatomy, cuts[-1].value, run)
    return CutPoints([dataclasses.replace(cut, anatomy=anatomy) for cut in cuts], cuts.said)


def _parts(model: Any) -> tuple[nn.Module, nn.Module]:
    try:
        return model.trunk, model.own
    except AttributeError as error:
        raise Refusal(other_architecture(model, error)) from error
