"""The network that a plan describes: frozen blocks, trained blocks and a head, in a chain."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from tlsweep.cut import CutPoints, LeftOut, block_of, folded, through
from tlsweep.heads.head import NOTHING, Head
from tlsweep.plan import TransferPlan
from tlsweep.terms import BlockState
from tlsweep.train.adapt import additions, merge
from tlsweep.train.frozen import ask

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class PlanNetwork(nn.Module):
    """``blocks`` from the input up, then ``head``; blocks that are not ``thawed`` are frozen.

    Frozen means: gradients neither kept nor asked for, BatchNorm and dropout in eval mode whatever
    ``train()`` is told. Those below the first thawed block are run without a graph, so no backward
    pass enters them, and from a copy with BatchNorm folded into the convolutions (``cut/fold.py``),
    which is made again when their weights change; ``blocks`` are always the original modules.
    adapted: of these blocks only low-rank additions are trained (``train/adapt.py``), and their
    BatchNorm is frozen; entry: the cut point that inputs come from, 0 for images, at most
    ``boundary``; set by who feeds;
    steady: the BatchNorm of these blocks keeps its statistics where it is trained, too: those of a
    batch, or of few images, are worse than those of the source's many. In training these blocks are
    run folded as well, anew in each pass: the same tensors in less time.
    """

    def __init__(
        self, blocks: Sequence[nn.Module], head: Head, adapted: Collection[int] = ()
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.head = head
        self.entry = 0
        self.adapted, self.steady = frozenset(adapted), frozenset[int]()
        self.thawed = frozenset(range(len(blocks)))
        # of frozen and of steady blocks, and what they were made of; tuples: no submodules
        self._run: tuple[object, list[nn.Module]] = (None, [])
        self._trained: tuple[object, list[nn.Module]] = (None, [])
        # of weights too: a convolution writes channels last if either is so, and dropout's random
        # numbers fall on elements in the order of memory
        self.to(memory_format=torch.channels_last)

    @property
    def boundary(self) -> int:
        """The first thawed block; where there is none, one more than the last block."""
        return min(self.thawed, default=len(self.blocks))

    def thaw(self, thawed: Collection[int]) -> None:
        """Freeze all blocks but these."""
        if not frozenset(thawed) <= frozenset(range(len(self.blocks))):
            raise ValueError(f"thawed={sorted(thawed)} of {len(self.blocks)} blocks")
        self.thawed = frozenset(thawed)
        ask([*self.blocks], {i: self.trained_of(i) for i in self.thawed})
        self.train(self.training)

    def trained_of(self, block: int) -> Iterator[nn.Parameter]:
        """What is trained of a block that is thawed."""
        own = self.blocks[block]
        return additions(own) if block in self.adapted else own.parameters()

    def merge(self) -> None:
        """Make additions part of the weights, so that the blocks are plain ones: the same outputs.

        In front of what is scored, kept or taken home; training does not go on from there.
        """
        for i in self.adapted:
            merge(self.blocks[i])
        self.adapted = frozenset()
        self.to(memory_format=torch.channels_last)  # of what was merged, too

    def train(self, mode: bool = True) -> PlanNetwork:
        """As in torch, but frozen blocks and steady BatchNorm stay in eval mode."""
        super().train(mode)
        for i, block in enumerate(self.blocks):
            if i not in self.thawed:
                block.eval()
            elif i in self.steady or i in self.adapted:
                for module in block.modules():
                    if isinstance(module, BATCH_NORMS):
                        module.eval()
        return self

    def activations(self, z: Tensor, side: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """What reaches the head, [batch, ...], of inputs at the cut point ``entry``.

        side: what every block and the head are told beside their input (a mask).
        """
        z = channels_last(z)
        with torch.no_grad():
            for block in self._frozen_blocks():
                z = through(block, z, side)
        # only to train: what is scored is what the model taken home answers, bit for bit
        for block in self._quick_blocks() if self.training else self.blocks[self.boundary :]:
            z = through(block, z, side)
        return z

    def _frozen_blocks(self) -> list[nn.Module]:
        """The blocks from ``entry`` to ``boundary``, as they are run."""
        blocks = self.blocks[self.entry : self.boundary]
        held = (*blocks.parameters(), *blocks.buffers())
        now = [(id(t), 0 if t.is_inference() else t._version, t.data_ptr()) for t in held]
        if self._run[0] != now:
            self._run = now, [folded(block) for block in blocks]
        return self._run[1]

    def _quick_blocks(self) -> list[nn.Module]:
        """The blocks from ``boundary`` on as they are trained: folded where BatchNorm is steady."""
        low = self.boundary
        blocks = self.blocks[low:]
        tensors = (*blocks.parameters(), *blocks.buffers())
        now = [low, self.steady, self.thawed, *map(id, tensors)]
        if self._trained[0] != now:
            folds = [i in self.steady or i not in self.thawed for i in range(low, len(self.blocks))]
            quick = [
                folded(block, trains=True) if fold else block
                for block, fold in zip(blocks, folds, strict=True)
            ]
            self._trained = now, quick
        for block, quick_block in zip(blocks, self._trained[1], strict=True):
            _same_modes(block, quick_block)
        return self._trained[1]

    def forward(self, z: Tensor, side: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """[batch, ...] inputs at the cut point ``entry`` to [batch, outputs]."""
        outputs: Tensor = self.head(self.activations(z, side), side)
        return outputs

    @torch.no_grad()
    def calibrate(self, inputs: Iterable[tuple[Tensor, Mapping[str, Tensor]]], seed: int) -> None:
        """Measure the head's standardisation on batches of inputs, as training will see them.

        That is in training mode: a fresh BatchNorm scales by the batch there and by nothing in
        eval mode, so its eval activations would tell the head the wrong scale. Leaves the global
        random numbers as they were.
        """
        mode = self.training
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.train()
            self.head.calibrate(self.head.features(self.activations(z, s), s) for z, s in inputs)
        self.train(mode)


def blocks_of(
    plan: TransferPlan, cuts: CutPoints, kept: nn.Module, fresh: nn.Module
) -> list[nn.Module]:
    """The blocks below a plan's head, from the input up: sections of ``kept``, and of ``fresh``.

    In place of a block that is left out stands ``LeftOut``, so that blocks keep their numbers; and
    of one that no part can start with: the block below it holds it, in the same state.
    """
    return [
        LeftOut()
        if i in plan.left_out
        else block_of(fresh if plan.states[i] == BlockState.FRESH else kept, cuts, i, plan.regrow)
        for i in range(plan.regrow)
    ]


def _same_modes(block: nn.Module, quick: nn.Module) -> None:
    """Train and eval as the block does: Lightning sets modes module by module, not from above."""
    own = dict(block.named_modules())
    for name, module in quick.named_modules():
        if name in own and module.training != own[name].training:
            module.training = own[name].training


def channels_last(x: Tensor) -> Tensor:
    """The same numbers, images laid out as convolutions run fastest; other shapes as they are."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
