"""What all cut points of one architecture share: how its forward pass is taken apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class PrefixCost:
    """What it costs to compute one cut point's tensor from the input.

    parameters: numbers held by the parameters that the prefix uses, shared ones counted once;
    flops: per example, forward pass, a multiply-add is two (convolutions, matrix products and
    attention; what is element by element is not counted); activation_bytes: of the cut point's
    tensor per example, as float32.
    """

    parameters: int
    flops: int
    activation_bytes: int


class Anatomy(ABC):
    """Takes a forward pass apart between values that it names. Holds no parameters; picklable.

    way: by torch.fx, by calls of modules, or by layers that a source names.
    """

    @property
    @abstractmethod
    def way(self) -> Literal["fx", "calls", "layers"]:
        """How it was found."""

    @property
    @abstractmethod
    def input(self) -> str:
        """The name of the raw input."""

    @abstractmethod
    def part(self, model: nn.Module, low: str, high: str | None) -> nn.Module:
        """The part of ``model`` from the value ``low`` to ``high``; None: to its own output.

        It shares the model's parameters. Raises Refusal if ``model`` lacks what the part uses.
        """

    @abstractmethod
    def costs(
        self, model: nn.Module, values: Sequence[str], example: Tensor
    ) -> tuple[PrefixCost, ...]:
        """The cost of every prefix that ends in one of these values; nothing is computed."""
