"""Blocks in a row: what is handed from one to the next, and what rides along."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

NOTHING: Mapping[str, Tensor] = {}


class LeftOut(nn.Module):
    """In place of a block that a plan leaves out: what comes in goes out."""

    def forward(self, z: Tensor, side: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """The input itself."""
        return z


def through(block: nn.Module, z: Tensor, side: Mapping[str, Tensor]) -> Tensor:
    """What a block makes of [batch, ...].

    side: what rides along, by name, batch first. Blocks of images are given nothing but images: a
    module of a user's own takes one tensor.
    """
    made: Tensor = block(z, side) if side else block(z)
    return made
