"""What goes through a network at a time: inputs, what rides along with them, and what is true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

Side = Mapping[str, Tensor]
"""What every block and head is told beside its input, by name, batch first; of images nothing.

``mask``, bool [batch, tokens], is True where a token is one, and not filling.
"""


class Batch(NamedTuple):
    """Examples, [batch, ...] each.

    z: images, tokens, or the activations of a cut point; side: what rides along; y: what is true.
    """

    z: Tensor
    side: Side
    y: Tensor
