"""The network that a plan describes: frozen blocks, trained blocks and a head, in a chain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from tlsweep.cut import CutPoints, folded, section
from tlsweep.plan import TransferPlan
from tlsweep.train.head import Head

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class PlanNetwork(nn.Module):
    """``blocks`` from the input up, then ``head``; the first ``frozen`` blocks are frozen.

    Frozen means: evaluated without a graph (so no backward pass enters them), gradients neither
    kept nor asked for, BatchNorm and dropout in eval mode whatever ``train()`` is told. They are
    run from a copy with BatchNorm folded into the convolutions (``cut/fold.py``), which is made
    again when their weights change; ``blocks`` are always the original modules.
    entry: the cut point that inputs come from, 0 for images, at most ``frozen``; set by who feeds;
    steady: the BatchNorm of the blocks before this one keeps its statistics where it is trained,
    too: those of a batch, or of few images, are worse than those of the source's many. In training
    these blocks are run folded as well, anew in each pass: the same tensors in less time.
    """

    def __init__(self, blocks: Sequence[nn.Module], head: Head) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.head = head
        self.frozen = self.entry = self.steady = 0
        # of frozen and of steady blocks, and what they were made of; tuples: no submodules
        self._run: tuple[object, list[nn.Module]] = (None, [])
        self._trained: tuple[object, list[nn.Module]] = (None, [])
        # of weights too: a convolution writes channels last if either is so, and dropout's random
        # numbers fall on elements in the order of memory
        self.to(memory_format=torch.channels_last)

    def freeze(self, frozen: int) -> None:
        """Freeze the first ``frozen`` blocks and thaw the others."""
        if not 0 <= frozen <= len(self.blocks):
            raise ValueError(f"frozen={frozen} of {len(self.blocks)} blocks")
        self.frozen = frozen
        # a tensor that a trained block shares with a frozen one is frozen: else neither were
        held = {id(p) for block in self.blocks[:frozen] for p in block.parameters()}
        for parameter in self.blocks.parameters():
            parameter.requires_grad_(id(parameter) not in held)
            if not parameter.requires_grad:
                parameter.grad = None
        self.train(self.training)

    def train(self, mode: bool = True) -> PlanNetwork:
        """As in torch, but frozen blocks and steady BatchNorm stay in eval mode."""
        super().train(mode)
        for block in self.blocks[: self.frozen]:
            block.eval()
        for block in self.blocks[self.frozen : self.steady]:
            for module in block.modules():
                if isinstance(module, BATCH_NORMS):
                    module.eval()
        return self

    def activations(self, z: Tensor) -> Tensor:
        """What reaches the head, [batch, ...], of inputs at the cut point ``entry``."""
        z = channels_last(z)
        with torch.no_grad():
            for block in self._frozen_blocks():
                z = block(z)
        # only to train: what is scored is what the model taken home answers, bit for bit
        steady = self._steady_blocks() if self.training else []
        for block in (*steady, *self.blocks[self.frozen + len(steady) :]):
            z = block(z)
        return z

    def _frozen_blocks(self) -> list[nn.Module]:
        """The blocks from ``entry`` to ``frozen``, as they are run."""
        blocks = self.blocks[self.entry : self.frozen]
        held = (*blocks.parameters(), *blocks.buffers())
        now = [(id(t), 0 if t.is_inference() else t._version, t.data_ptr()) for t in held]
        if self._run[0] != now:
            self._run = now, [folded(block) for block in blocks]
        return self._run[1]

    def _steady_blocks(self) -> list[nn.Module]:
        """The trained blocks whose BatchNorm keeps its statistics, as they are run."""
        blocks = self.blocks[self.frozen : self.steady]
        tensors = (*blocks.parameters(), *blocks.buffers())
        now = [self.frozen, self.steady, *map(id, tensors)]
        if self._trained[0] != now:
            self._trained = now, [folded(block, trains=True) for block in blocks]
        for block, quick in zip(blocks, self._trained[1], strict=True):
            _same_modes(block, quick)
        return self._trained[1]

    def forward(self, z: Tensor) -> Tensor:
        """[batch, ...] inputs at the cut point ``entry`` to [batch, classes] logits."""
        logits: Tensor = self.head(self.activations(z))
        return logits

    @torch.no_grad()
    def calibrate(self, inputs: Iterable[Tensor], seed: int) -> None:
        """Measure the head's standardisation on batches of inputs, as training will see them.

        That is in training mode: a fresh BatchNorm scales by the batch there and by nothing in
        eval mode, so its eval activations would tell the head the wrong scale. Leaves the global
        random numbers as they were.
        """
        mode = self.training
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.train()
            self.head.calibrate(self.activations(z) for z in inputs)
        self.train(mode)


def blocks_of(
    plan: TransferPlan, cuts: CutPoints, kept: nn.Module, fresh: nn.Module
) -> list[nn.Module]:
    """The blocks that a plan uses, from the input up: sections of ``kept``, then of ``fresh``."""
    return [section(kept if i < plan.keep else fresh, cuts, i, i + 1) for i in range(plan.regrow)]


def _same_modes(block: nn.Module, quick: nn.Module) -> None:
    """Train and eval as the block does: Lightning sets modes module by module, not from above."""
    own = dict(block.named_modules())
    for name, module in quick.named_modules():
        if name in own and module.training != own[name].training:
            module.training = own[name].training


def channels_last(x: Tensor) -> Tensor:
    """The same numbers, images laid out as convolutions run fastest; other shapes as they are."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
