"""The transfer plan: which of five states each block of the source is in. Pure.

A source with L blocks has cut points 0..L. Most plans are written with three of them::

    frozen | tuned | fresh | dropped          + a new head (always trained)
    0......freeze..keep....regrow.....L

and what lies between may be changed region by region: tuned, adapted or dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tlsweep.errors import Fault, Refusal
from tlsweep.terms import BlockState

KEPT = (BlockState.FROZEN, BlockState.ADAPTED, BlockState.TUNED)  # these start from the source
LEARNING = (BlockState.ADAPTED, BlockState.TUNED, BlockState.FRESH)


@dataclass(frozen=True)
class TransferPlan:
    """The state of every block, from the input up; blocks are counted from 0.

    random_weights: the kept blocks start from random weights instead of the source's (the control
    ``random_features``); rank, scale: of what is added to the weights of adapted blocks.

    Example: ``monotone(2, 3, 3, 5).states`` is two frozen blocks, a tuned one, two dropped ones.
    """

    states: tuple[BlockState, ...]
    random_weights: bool = False
    rank: int = 8
    scale: float = 1.0

    # ------------------------------------------------------------------ sizes
    @property
    def n_blocks(self) -> int:
        """L, the number of blocks of the source."""
        return len(self.states)

    @cached_property
    def freeze(self) -> int:
        """No block before this one is trained: what they compute is the same in every epoch."""
        return min(self.trained, default=self.regrow)

    @cached_property
    def keep(self) -> int:
        """The source is kept up to here: one more than the last block that starts from it."""
        return max((i + 1 for i in self.kept), default=0)

    @cached_property
    def regrow(self) -> int:
        """The head stands here: one more than the last block in use."""
        used = (i + 1 for i, state in enumerate(self.states) if state != BlockState.DROPPED)
        return max(used, default=0)

    # ------------------------------------------------------------------ blocks
    def blocks(self, *states: BlockState) -> tuple[int, ...]:
        """The blocks in one of these states, from the input up."""
        return tuple(i for i, state in enumerate(self.states) if state in states)

    @cached_property
    def kept(self) -> tuple[int, ...]:
        """The blocks that start from the source's weights (or from ``random_weights``)."""
        return self.blocks(*KEPT)

    @property
    def learned(self) -> tuple[int, ...]:
        """The blocks that start from what the source has learned."""
        return () if self.random_weights else self.kept

    @cached_property
    def trained(self) -> frozenset[int]:
        """The blocks of which something is trained."""
        return frozenset(self.blocks(*LEARNING))

    @cached_property
    def left_out(self) -> tuple[int, ...]:
        """The dropped blocks below the head: what is before such a block goes on behind it."""
        return tuple(i for i in self.blocks(BlockState.DROPPED) if i < self.regrow)

    @property
    def kept_fraction(self) -> float:
        """Share of the source's blocks that start from its weights, 0..1."""
        return len(self.learned) / self.n_blocks if self.n_blocks else 0.0

    @property
    def trained_state(self) -> BlockState:
        """What is done with the kept blocks: frozen, or the most that is done with any of them."""
        for state in (BlockState.TUNED, BlockState.ADAPTED):
            if state in self.states:
                return state
        return BlockState.FROZEN

    @property
    def is_monotone(self) -> bool:
        """Whether three cut points say it all."""
        order = [BlockState.FROZEN, BlockState.TUNED, BlockState.FRESH, BlockState.DROPPED]
        return BlockState.ADAPTED not in self.states and list(self.states) == sorted(
            self.states, key=order.index
        )

    def runs(self, state: BlockState) -> list[tuple[int, int]]:
        """The first and the last block of every run of blocks in a state, below the head."""
        return runs_of([i for i in self.blocks(state) if i < self.regrow])

    # ------------------------------------------------------------------ other plans
    def frozen(self) -> TransferPlan:
        """The plan that keeps the same blocks, and trains none of them."""
        states = (BlockState.FROZEN if s in KEPT else BlockState.DROPPED for s in self.states)
        return replace(self, states=tuple(states))

    def with_blocks(self, blocks: Collection[int], state: BlockState) -> TransferPlan:
        """The plan with these blocks in another state."""
        states = (state if i in blocks else own for i, own in enumerate(self.states))
        return replace(self, states=tuple(states))


def monotone(
    freeze: int, keep: int, regrow: int, n_blocks: int, random_weights: bool = False
) -> TransferPlan:
    """Blocks [0, freeze) frozen, [freeze, keep) tuned, [keep, regrow) fresh, the others dropped.

    Raises Refusal with every broken rule if not 0 <= freeze <= keep <= regrow <= n_blocks.
    """
    given = {"freeze": freeze, "keep": keep, "regrow": regrow}
    if faults := [*_order(**given), *_range(given, n_blocks)]:
        raise Refusal(*faults)
    lengths = {
        BlockState.FROZEN: freeze,
        BlockState.TUNED: keep - freeze,
        BlockState.FRESH: regrow - keep,
        BlockState.DROPPED: n_blocks - regrow,
    }
    states = tuple(state for state, length in lengths.items() for _ in range(length))
    return TransferPlan(states, random_weights)


def _order(freeze: int, keep: int, regrow: int) -> list[Fault]:
    faults = []
    if freeze > keep:
        faults.append(
            Fault(
                f"plan.freeze={freeze} with plan.keep={keep}",
                "only kept blocks can be frozen: freeze <= keep",
                f"plan.freeze={keep}, or a later plan.keep",
            )
        )
    if keep > regrow:
        faults.append(
            Fault(
                f"plan.keep={keep} with plan.regrow={regrow}",
                "fresh blocks start where the kept ones end: keep <= regrow",
                f"plan.regrow={keep}, or an earlier plan.keep",
            )
        )
    return faults


def _range(given: dict[str, int], n_blocks: int) -> list[Fault]:
    return [
        Fault(
            f"plan.{name}={index}",
            f"a cut point lies between 0 and {n_blocks}",
            f"plan.{name}={min(max(index, 0), n_blocks)}",
        )
        for name, index in given.items()
        if not 0 <= index <= n_blocks
    ]


def spelled(plan: TransferPlan, names: Sequence[str]) -> dict[str, str]:
    """The regions of a plan that three cut points do not say, as ``plan.tune=`` takes them.

    names: of the blocks. ``{"dropped": "block2..block3"}``; nothing for a monotone plan.
    """
    if plan.is_monotone:
        return {}
    states = (BlockState.TUNED, BlockState.ADAPTED, BlockState.DROPPED)
    return {str(s): region(plan.runs(s), names) for s in states if plan.runs(s)}


def runs_of(blocks: Collection[int]) -> list[tuple[int, int]]:
    """The first and the last block of every run of neighbours."""
    found: list[tuple[int, int]] = []
    for block in sorted(blocks):
        first = found.pop()[0] if found and found[-1][1] == block - 1 else block
        found.append((first, block))
    return found


def as_written(blocks: Collection[int], names: Sequence[str]) -> str:
    """Blocks as a command line writes a region: ``block1..block3``, ``[block1,block4]``, ``none``.

    names: of the blocks.
    """
    runs = runs_of(blocks)
    text = region(runs, names).replace(" ", "") or "none"
    return f"[{text}]" if len(runs) > 1 else text


def region(runs: Sequence[tuple[int, int]], names: Sequence[str]) -> str:
    """Runs of blocks by their names: ``block1, block3..block5``."""
    return ", ".join(
        names[first] if first == last else f"{names[first]}..{names[last]}" for first, last in runs
    )
