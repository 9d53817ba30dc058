"""The transfer plan: which of four states each block of the source is in. Pure.

A source with L blocks has cut points 0..L. Three of them make a plan::

    frozen | tuned | fresh | dropped          + a new head (always trained)
    0......freeze..keep....regrow.....L
"""

from __future__ import annotations

from dataclasses import dataclass

from tlsweep.errors import Fault, Refusal
from tlsweep.terms import BlockState


@dataclass(frozen=True)
class TransferPlan:
    """Blocks [0, freeze) frozen, [freeze, keep) tuned, [keep, regrow) fresh, [regrow, L) dropped.

    n_blocks: L, the number of blocks of the source; random_weights: the kept blocks start from
    random weights instead of the source's (the control ``random_features``).

    Raises Refusal with every broken rule if not 0 <= freeze <= keep <= regrow <= n_blocks.
    """

    freeze: int
    keep: int
    regrow: int
    n_blocks: int
    random_weights: bool = False

    def __post_init__(self) -> None:
        faults = []
        if self.freeze > self.keep:
            faults.append(
                Fault(
                    f"plan.freeze={self.freeze} with plan.keep={self.keep}",
                    "only kept blocks can be frozen: freeze <= keep",
                    f"plan.freeze={self.keep}, or a later plan.keep",
                )
            )
        if self.keep > self.regrow:
            faults.append(
                Fault(
                    f"plan.keep={self.keep} with plan.regrow={self.regrow}",
                    "fresh blocks start where the kept ones end: keep <= regrow",
                    f"plan.regrow={self.keep}, or an earlier plan.keep",
                )
            )
        for name in ("freeze", "keep", "regrow"):
            index = getattr(self, name)
            if not 0 <= index <= self.n_blocks:
                faults.append(
                    Fault(
                        f"plan.{name}={index}",
                        f"a cut point lies between 0 and {self.n_blocks}",
                        f"plan.{name}={min(max(index, 0), self.n_blocks)}",
                    )
                )
        if faults:
            raise Refusal(*faults)

    def state(self, block: int) -> BlockState:
        """The state of block ``block`` (0-based, from the input up)."""
        if not 0 <= block < self.n_blocks:
            raise IndexError(f"block {block} of {self.n_blocks}")
        if block < self.freeze:
            return BlockState.FROZEN
        if block < self.keep:
            return BlockState.TUNED
        if block < self.regrow:
            return BlockState.FRESH
        return BlockState.DROPPED

    @property
    def states(self) -> tuple[BlockState, ...]:
        """The state of every block, from the input up."""
        return tuple(self.state(block) for block in range(self.n_blocks))

    @property
    def kept_fraction(self) -> float:
        """Share of the source's blocks that start from its weights, 0..1."""
        if self.random_weights or self.n_blocks == 0:
            return 0.0
        return self.keep / self.n_blocks

    @property
    def trained_state(self) -> BlockState:
        """``frozen`` if all kept blocks are frozen, else ``tuned``: the curve it lies on."""
        return BlockState.FROZEN if self.freeze == self.keep else BlockState.TUNED
