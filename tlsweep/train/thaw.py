"""Freeze schedules for a LightningModule of one's own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytorch_lightning as pl
import torch
from pydantic import ValidationError

from tlsweep.errors import Fault, Refusal, unknown_name
from tlsweep.schedule.base import Ending, FreezeSchedule, Trigger
from tlsweep.schedule.settings import EndingSettings
from tlsweep.train.freeze import Phases
from tlsweep.train.frozen import ask


class Thaw(Phases):
    """Thaws blocks of any LightningModule between epochs.

    blocks: modules of it, from the input up; all else is trained throughout; phases: the blocks of
    each phase, by their places in ``blocks`` (``[[], [1], [0, 1]]``), each with all of the one
    before; by default one more block a phase, from the top down; until, epochs, patience,
    min_delta, grad_share: what ends a phase, as the settings of ``schedule`` say; monitor: the
    logged loss that ``until="plateau"`` looks at.

    A frozen block is in eval mode (BatchNorm keeps its statistics, dropout drops nothing), and none
    of its tensors asks for a gradient, so that no optimiser moves or decays it. Thawed, it is in
    the modes that it came in. Give the optimiser all parameters, frozen ones too.

    Example::

        trainer = pl.Trainer(callbacks=[tlsweep.Thaw([net.layer3, net.layer4], epochs=2)])
    """

    def __init__(
        self,
        blocks: Sequence[torch.nn.Module],
        phases: Sequence[Collection[int]] | None = None,
        *,
        until: Trigger = "epochs",
        epochs: int = 1,
        patience: int = 2,
        min_delta: float = 0.0,
        grad_share: float = 0.3,
        monitor: str = "val_loss",
    ) -> None:
        self.blocks, self.monitor = _checked(blocks), monitor
        ending = _ending(
            until=until, epochs=epochs, patience=patience, min_delta=min_delta,
            grad_share=grad_share,
        )  # fmt: skip
        super().__init__(FreezeSchedule(_phases(len(self.blocks), phases), ending))
        # as the blocks came: what asked for a gradient, and what was in training mode
        self._asked: list[list[torch.nn.Parameter]] = []
        self._training: list[list[torch.nn.Module]] = []

    # ------------------------------------------------------------------ of the module
    def freeze(self, pl_module: pl.LightningModule) -> None:
        """Freeze all blocks but those of the present phase. Raises Refusal for foreign blocks."""
        own = {id(module) for module in pl_module.modules()}
        for i, block in enumerate(self.blocks):
            if id(block) not in own:
                name = type(pl_module).__name__
                rule = f"blocks are modules of the LightningModule that is trained, a {name}"
                raise Refusal(Fault(self._called(i), rule, "blocks=[...] of that very object"))
        if not self._asked:
            self._asked = [[p for p in b.parameters() if p.requires_grad] for b in self.blocks]
            self._training = [[m for m in b.modules() if m.training] for b in self.blocks]
        self.thaw(pl_module)

    def thaw(self, pl_module: pl.LightningModule) -> None:
        """Train the blocks of the present phase, and no others."""
        ask(self.blocks, {i: self._asked[i] for i in self.thawed})
        for i in self.thawed:
            for module in self._training[i]:
                module.training = True
        self._rest()

    def _rest(self) -> None:
        """Put frozen blocks in eval mode; whoever calls ``train()`` wakes them."""
        for i, block in enumerate(self.blocks):
            if i not in self.thawed and any(module.training for module in block.modules()):
                block.eval()

    def new_layers(self, pl_module: pl.LightningModule) -> Iterable[torch.nn.Parameter]:
        """All that lies in no block."""
        within = {id(p) for block in self.blocks for p in block.parameters()}
        return (p for p in pl_module.parameters() if id(p) not in within)

    def loss(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> float:
        """The monitored one, where a plateau of it ends phases. Raises Refusal without it."""
        if self.schedule.ending.until != "plateau":
            return 0.0
        logged = trainer.callback_metrics
        if self.monitor not in logged:
            known = [*logged] or ["(nothing is logged)"]
            raise Refusal(
                unknown_name("metric that the module logs", "monitor", self.monitor, known)
            )
        return float(logged[self.monitor])

    def is_over(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> bool:
        """Whether this is the last epoch."""
        return trainer.current_epoch + 1 == trainer.max_epochs

    # ------------------------------------------------------------------ hooks
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raise Refusal where the optimiser lacks what a later phase thaws: it would never move."""
        groups = (group for each in trainer.optimizers for group in each.param_groups)
        held = {id(p) for group in groups for p in group["params"]}
        for i in sorted(self.schedule.thawed[-1]):
            if any(id(p) not in held for p in self._asked[i]):
                rule = (
                    "an optimiser holds from the start all that a later phase thaws; what is frozen"
                    " has no gradient, and is not touched"
                )
                mend = "configure_optimizers with self.parameters(), whatever asks for gradients"
                raise Refusal(Fault(f"{self._called(i)} is in no optimiser", rule, mend))

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep frozen blocks in eval mode."""
        self._rest()

    def _called(self, block: int) -> str:
        return f"Thaw: block {block} ({type(self.blocks[block]).__name__})"


def _checked(blocks: Sequence[torch.nn.Module]) -> list[torch.nn.Module]:
    found = [*blocks]
    if not found or not all(isinstance(block, torch.nn.Module) for block in found):
        rule = "blocks are modules of yours, from the input up"
        raise Refusal(Fault("Thaw(blocks=...)", rule, "Thaw(blocks=[net.layer3, net.layer4])"))
    return found


def _ending(**given: Any) -> Ending:
    """What ends a phase, by the rules that the settings of ``schedule`` have."""
    try:
        return Ending(**EndingSettings.model_validate(given).model_dump())
    except ValidationError as error:
        raise Refusal(
            *(
                Fault(f"Thaw({wrong['loc'][0]}={wrong['input']!r})", wrong["msg"], "see help(Thaw)")
                for wrong in error.errors()
            )
        ) from error


def _phases(count: int, given: Sequence[Collection[int]] | None) -> tuple[frozenset[int], ...]:
    gradual = [range(count - n, count) for n in range(count + 1)]
    found = tuple(map(frozenset, gradual if given is None else given))
    grow = bool(found) and all(a < b for a, b in pairwise(found))
    if not grow or not all(blocks <= frozenset(range(count)) for blocks in found):
        rule = f"each phase names blocks from 0 to {count - 1}: those of the one before, and more"
        mend = f"phases={[[*blocks] for blocks in gradual]}"
        raise Refusal(Fault(f"Thaw(phases={given})", rule, mend))
    return found
