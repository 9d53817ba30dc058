"""A forward pass that torch.fx has traced: a list of steps, cut wherever one value carries all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from tlsweep.cut.anatomy import Anatomy, PrefixCost
from tlsweep.cut.cost import program_costs
from tlsweep.cut.flow import Flow
from tlsweep.cut.parts import Section, section_of
from tlsweep.cut.program import Program


@dataclass(frozen=True, eq=False)
class Traced(Anatomy):
    """A program and what is known of it.

    shapes: of its articulations, without batch, where sizes of the example stand in its steps; else
    none, and its parts take inputs of any size that the model itself takes.
    """

    way = "fx"
    program: Program
    flow: Flow
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def input(self) -> str:
        """The name of the raw input."""
        return self.program.input

    def part(self, model: nn.Module, low: str, high: str | None) -> Section:
        """The steps between two values, as a module."""
        return section_of(model, self.program, self.flow, low, high, self.shapes.get(low))

    def costs(
        self, model: nn.Module, values: Sequence[str], example: Tensor
    ) -> tuple[PrefixCost, ...]:
        """All of them in one fake run."""
        return program_costs(self.program, model, values, example)
