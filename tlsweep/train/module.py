"""The one LightningModule: loss, metrics, optimiser. Knows plans only as a frozen block count."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from tlsweep.config import TrainSettings
from tlsweep.errors import TrialFailure
from tlsweep.train.network import PlanNetwork

OnEpoch = Callable[[int, dict[str, float]], bool]


@dataclass(frozen=True)
class Rates:
    """Learning rates: ``base`` for new layers, ``base * ratio * decay ** distance`` for kept ones.

    distance: how many kept blocks lie between a kept block and the new layers.
    """

    base: float
    ratio: float
    decay: float

    def of_block(self, block: int, keep: int) -> float:
        """The rate of block ``block`` where blocks before ``keep`` are kept."""
        if block >= keep:
            return self.base
        return self.base * self.ratio * self.decay ** (keep - 1 - block)


class PlanModule(pl.LightningModule):
    """Trains a PlanNetwork; asks ``on_epoch(epoch, metrics)`` after each epoch whether to stop.

    keep: blocks before this one are the source's and train at the lower rate.
    The optimiser has one parameter group a block and one for the head, from the start and to the
    end; the groups of frozen blocks are empty. Thawing fills a group, so the learning-rate
    schedulers, which count groups when they are built, stay right (Lightning issue 8720).
    """

    def __init__(
        self, network: PlanNetwork, train: TrainSettings, *, keep: int, n_classes: int, seed: int
    ) -> None:
        super().__init__()
        self.network = network
        self.settings, self.keep, self.seed = train, keep, seed
        self.rates = Rates(train.lr, train.lr_ratio, train.block_decay)
        self.fit_loss = MeanMetric()
        self.select_loss = MeanMetric()
        self.select_accuracy = MulticlassAccuracy(n_classes, average="micro")
        self.history: list[dict[str, float]] = []
        self.on_epoch: OnEpoch | None = None
        self.stopped = False

    # ------------------------------------------------------------------ optimiser
    def block_parameters(self, block: int) -> list[torch.nn.Parameter]:
        """The trained parameters of a block, each counted at the lowest block that holds it."""
        below = {id(p) for i in range(block) for p in self.network.blocks[i].parameters()}
        own = self.network.blocks[block].parameters()
        return [p for p in own if p.requires_grad and id(p) not in below]

    def configure_optimizers(self) -> Any:
        """One group a block, then the head; frozen blocks have empty groups."""
        frozen = self.network.frozen
        groups: list[dict[str, Any]] = [
            {
                "params": self.block_parameters(i) if i >= frozen else [],
                "lr": self.rates.of_block(i, self.keep),
                "name": f"block{i}",
            }
            for i in range(len(self.network.blocks))
        ]
        groups.append(
            {"params": list(self.network.head.parameters()), "lr": self.rates.base, "name": "head"}
        )
        options: dict[str, Any] = {
            "lr": self.rates.base,
            "weight_decay": self.settings.weight_decay,
        }
        optimizer: torch.optim.Optimizer
        if self.settings.optimizer == "adamw":
            optimizer = torch.optim.AdamW(groups, **options)
        else:
            optimizer = torch.optim.SGD(groups, momentum=0.9, **options)
        total = max(1, int(self.trainer.estimated_stepping_batches))
        factor = _cosine(total) if self.settings.lr_schedule == "cosine" else _flat
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def thaw(self, frozen: int) -> None:
        """Lower the freeze point to ``frozen`` and give the thawed parameters to the optimiser."""
        self.network.freeze(frozen)
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for block in range(frozen, len(self.network.blocks)):
            new = [p for p in self.block_parameters(block) if id(p) not in held]
            optimizer.param_groups[block]["params"].extend(new)

    # ------------------------------------------------------------------ steps
    def on_train_epoch_start(self) -> None:
        """Draw the epoch's random numbers from (seed, epoch, rank) alone, so that a resume does."""
        torch.manual_seed((self.seed * 1_000_003 + self.current_epoch) * 1_009 + self.global_rank)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy of a batch ([batch, channels, height, width], [batch])."""
        x_bchw, y_b = batch
        loss = functional.cross_entropy(self.network(x_bchw), y_b)
        if not torch.isfinite(loss):
            raise TrialFailure(
                f"the loss is {float(loss.detach())} at epoch {self.current_epoch + 1},"
                f" step {batch_idx + 1}"
                f" (train.lr={self.settings.lr:g}); a lower train.lr may help"
            )
        self.fit_loss.update(loss.detach(), len(y_b))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Loss and accuracy on the select split."""
        x_bchw, y_b = batch
        logits = self.network(x_bchw)
        self.select_loss.update(functional.cross_entropy(logits.float(), y_b), len(y_b))
        self.select_accuracy.update(logits, y_b)

    def on_validation_epoch_end(self) -> None:
        """Close the epoch's metrics and ask whether to stop."""
        metrics = {
            "fit_loss": float(self.fit_loss.compute()),
            "select_loss": float(self.select_loss.compute()),
            "select_accuracy": float(self.select_accuracy.compute()),
            "frozen_blocks": float(self.network.below + self.network.frozen),
        }
        for metric in (self.fit_loss, self.select_loss, self.select_accuracy):
            metric.reset()
        self.history.append(metrics)
        stop = False
        if self.on_epoch is not None and self.trainer.is_global_zero:
            stop = self.on_epoch(self.current_epoch, metrics)
        # every rank stops in the same epoch, or the others wait for ever
        if self.trainer.strategy.broadcast(stop):
            self.stopped = True
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the history with the weights."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the history of the interrupted run."""
        self.history = list(checkpoint["history"])


def _flat(step: int) -> float:
    return 1.0


def _cosine(total: int) -> Callable[[int], float]:
    def factor(step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(step, total) / total))

    return factor
