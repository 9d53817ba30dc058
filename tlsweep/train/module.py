"""The one LightningModule: loss, metrics, optimiser. Of plans it knows what is kept and thawed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import CatMetric, MeanMetric

from tlsweep.errors import TrialFailure
from tlsweep.target.batch import Batch
from tlsweep.task import Task
from tlsweep.train.network import PlanNetwork
from tlsweep.train.settings import TrainSettings
from tlsweep.train.settle import Course, course, falling, least_epochs, rising

OnEpoch = Callable[[int, dict[str, float], int], bool]
TURNOVER = 4  # times that decay renews a new weight during a training
MOST_DECAY = 0.05  # of a new weight in one step, however few they are
SGD_DECAY = 1e-3  # as is usual; its momentum adds it up
EXPLODED = 1000  # times a guess's loss: no rounding away from one right answer brings that


@dataclass(frozen=True)
class Rates:
    """Learning rates: ``base`` for new layers, ``base * ratio * decay ** distance`` for kept ones.

    distance: how many kept blocks lie between a kept block and the new layers. What is added to an
    adapted block is new.
    """

    base: float
    ratio: float
    decay: float

    def of_block(self, block: int, kept: Sequence[int]) -> float:
        """The rate of a block where ``kept`` start from the source, in their order."""
        if block not in kept:
            return self.base
        return self.base * self.ratio * self.decay ** (len(kept) - 1 - kept.index(block))


class PlanModule(pl.LightningModule):
    """Trains a PlanNetwork; after each epoch ``on_epoch(epoch, metrics, least)`` may stop it.

    kept: the blocks that are the source's, from the input up; those that are tuned train at the
    lower rate; last: the blocks that are trained in the last phase; fitted: whether the head is at
    its optimum already, as no new layer is: it trains at the rate of kept blocks, else its first
    steps would throw it far from there; early: whether training ends once its loss has settled;
    anew: where rates begin anew with each phase, the epochs that one before the last may take;
    least: epochs that the training takes at least.
    The optimiser has one parameter group a block and one for the head, from the start and to the
    end; the groups of frozen blocks are empty. Thawing fills a group, so the learning-rate
    schedulers, which count groups when they are built, stay right (Lightning issue 8720).
    """

    def __init__(
        self,
        network: PlanNetwork,
        train: TrainSettings,
        *,
        kept: Sequence[int],
        last: Collection[int],
        task: Task,
        seed: int,
        fitted: bool = False,
        early: bool = True,
        anew: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.fitted, self.early, self.anew = fitted, early, anew
        self.settings, self.kept, self.seed = train, tuple(kept), seed
        self.last_frozen, self.task = float(len(network.blocks) - len(last)), task
        self.rates = Rates(train.lr, train.lr_ratio, train.block_decay)
        # not a number counts, as infinity: by default it would be left out of the mean
        self.fit_loss = MeanMetric(nan_strategy=math.inf)
        self.select_loss = MeanMetric(nan_strategy=math.inf)
        self.select_outputs = CatMetric(nan_strategy="disable")  # of all devices
        self.select_truth = CatMetric(nan_strategy="disable")
        self.history: list[dict[str, float]] = []
        self.on_epoch: OnEpoch | None = None
        self.stopped = False
        self.untrained = frozenset(range(len(network.blocks)))  # by any epoch so far

    # ------------------------------------------------------------------ optimiser
    def block_parameters(self, block: int) -> list[torch.nn.Parameter]:
        """The trained parameters of a block, each counted at the lowest block that holds it."""
        if block not in self.network.thawed:
            return []
        below = {id(p) for i in range(block) for p in self.network.blocks[i].parameters()}
        own = self.network.blocks[block].parameters()
        return [p for p in own if p.requires_grad and id(p) not in below]

    def configure_optimizers(self) -> Any:
        """One group a block, then the head; frozen blocks have empty groups.

        What has learned already is not decayed: that would pull it away from where it began.
        """
        steps = int(self.trainer.estimated_stepping_batches)
        decay = decay_of(self.settings, steps)
        adapted = self.network.adapted
        groups: list[dict[str, Any]] = [
            {
                "params": self.block_parameters(i),
                "lr": self.rates.base if i in adapted else self.rates.of_block(i, self.kept),
                "weight_decay": 0.0 if i in self.kept else decay,
                "name": f"block{i}",
            }
            for i in range(len(self.network.blocks))
        ]
        head: dict[str, Any] = {"params": list(self.network.head.parameters()), "name": "head"}
        if self.fitted:
            head |= {"lr": self.rates.base * self.rates.ratio, "weight_decay": 0.0}
        else:
            head |= {"lr": self.rates.base, "weight_decay": decay}
        groups.append(head)
        optimizer: torch.optim.Optimizer
        if self.settings.optimizer == "adamw":
            optimizer = torch.optim.AdamW(groups)
        else:
            optimizer = torch.optim.SGD(groups, momentum=0.9)
        optimizer.register_load_state_dict_pre_hook(_by_group)
        an_epoch = max(1, steps // self.settings.epochs)
        factor = self._falling(an_epoch) if self.settings.lr_schedule == "cosine" else _flat
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def _falling(self, steps: int) -> Callable[[int], float]:
        """The rate's factor at each step. steps: of an epoch."""

        def factor(step: int) -> float:
            begun, held, end, most = self._stretch
            fall = falling(step, held * steps, end * steps)
            if self.anew is None:
                return fall
            return rising(step - begun * steps, (most - begun) * steps, steps) * fall

        return factor

    @property
    def _stretch(self) -> tuple[int, int, int, int]:
        """The epochs that the present course of the rates is for.

        Where it begins, until when rates are held, where it ends, and where at the latest.
        """
        frozen = float(len(self.network.blocks) - len(self.network.thawed))
        most, course = self.settings.epochs, self.course
        if self.anew is None:
            return 0, course.held, course.epochs, most
        begun = sum(epoch["frozen_blocks"] != frozen for epoch in self.history)
        if frozen == self.last_frozen:
            return begun, course.held, course.epochs, most
        end = min(begun + self.anew, most)
        return begun, begun, end, end

    @property
    def course(self) -> Course:
        """How long training goes on, as far as its history tells."""
        return course(*self._so_far)

    @property
    def _so_far(self) -> tuple[list[float], int, int, bool, float, bool]:
        """Losses of the last phase, epochs before it, most epochs, and what ``course`` asks."""
        last = [e["fit_loss"] for e in self.history if e["frozen_blocks"] == self.last_frozen]
        before = len(self.history) - len(last)
        anew = self.anew is not None
        return last, before, self.settings.epochs, self.early, self.task.floor, anew

    @property
    def over(self) -> bool:
        """Whether no epoch is left."""
        return len(self.history) >= self.course.epochs

    def thaw(self, thawed: Collection[int]) -> None:
        """Train these blocks from now on: give what is new of them to the optimiser."""
        self.network.thaw(thawed)
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for block in sorted(thawed):
            new = [p for p in self.block_parameters(block) if id(p) not in held]
            optimizer.param_groups[block]["params"].extend(new)
        if self.anew is not None:
            self._set_rates()

    def _set_rates(self) -> None:
        """Give the optimiser the rates of the coming step: its scheduler set them a step ago."""
        scheduler: Any = self.lr_schedulers()
        for group, factor in zip(
            scheduler.optimizer.param_groups, scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = group["initial_lr"] * factor(scheduler.last_epoch)

    # ------------------------------------------------------------------ checkpoints
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the history; leave out blocks not trained yet, which are as they were at first."""
        checkpoint["history"] = self.history
        untrained = tuple(f"network.blocks.{i}." for i in self.untrained)
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {k: v for k, v in state.items() if not k.startswith(untrained)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from another run's state, or this one's own, with its history."""
        self.history = list(checkpoint["history"])
        checkpoint["state_dict"] = {**self.state_dict(), **checkpoint["state_dict"]}

    def on_train_start(self) -> None:
        """Where a run goes on: learn at this plan's own rates, and tell what was trained before."""
        scheduler: Any = self.lr_schedulers()
        scheduler.base_lrs = [group["initial_lr"] for group in scheduler.optimizer.param_groups]
        self._set_rates()
        for epoch, metrics in enumerate(self.history):
            self._tell(epoch, metrics)
            if self.stopped:
                del self.history[epoch + 1 :]
                break
        self.trainer.should_stop |= self.over

    # ------------------------------------------------------------------ steps
    def on_train_epoch_start(self) -> None:
        """Draw the epoch's random numbers from (seed, epoch, rank) alone, so that a resume does."""
        self.untrained -= self.network.thawed
        torch.manual_seed((self.seed * 1_000_003 + self.current_epoch) * 1_009 + self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The task's loss of a batch."""
        z, side, y_b = batch
        loss = self.task.loss(self.network(z, side), y_b)
        if not torch.isfinite(loss):
            self._diverged(f"loss of step {batch_idx + 1}", float(loss.detach()))
        self.fit_loss.update(loss.detach(), len(y_b))
        return loss if self.settings.accumulate == 1 else loss * self._share(batch_idx, len(y_b))

    def _share(self, batch_idx: int, n: int) -> float:
        """What a part of a batch counts: its share of the batch, where Lightning takes 1 / parts.

        n: examples of the part. They differ in the last batch of an epoch, which may lack parts.
        """
        loader: Any = self.trainer.train_dataloader
        size, parts = self.settings.passed, self.settings.accumulate
        used = len(loader.sampler)
        used -= used % size if loader.drop_last else 0
        first = batch_idx // parts * self.settings.device_batch
        return n * parts / min(self.settings.device_batch, used - first)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and answers on the select split."""
        z, side, y_b = batch
        outputs = self.network(z, side).float()
        self.select_loss.update(self.task.loss(outputs, y_b), len(y_b))
        self.select_outputs.update(outputs)
        self.select_truth.update(y_b)

    def close_epoch(self, *, evaluated: bool) -> None:
        """Close the epoch's metrics and ask whether to stop.

        evaluated: whether the select split was scored. Raises TrialFailure for an epoch whose
        numbers are of no use.
        """
        metrics = {"fit_loss": float(self.fit_loss.compute())}
        self._sound("mean training loss", metrics["fit_loss"])
        if evaluated:
            metrics["select_loss"] = float(self.select_loss.compute())
            self._sound("loss on the select split", metrics["select_loss"])
            metrics[f"select_{self.task.metric.name}"] = self._score()
        metrics["frozen_blocks"] = float(len(self.network.blocks) - len(self.network.thawed))
        for metric in (self.fit_loss, self.select_loss, self.select_outputs, self.select_truth):
            metric.reset()
        self.history.append(metrics)
        self._tell(self.current_epoch, metrics)
        self.trainer.should_stop |= self.over

    def _score(self) -> float:
        """The task's metric on the select split, of all devices together."""
        outputs, truth = self.select_outputs.compute(), self.select_truth.compute()
        return self.task.score(outputs.cpu().numpy(), self.task.truth(truth.cpu().numpy()))

    def _sound(self, name: str, loss: float) -> None:
        """Raise TrialFailure where an epoch's loss is of no use."""
        if not loss <= EXPLODED * self.task.guess:  # of NaN, too
            self._diverged(name, loss)

    def _diverged(self, name: str, loss: float) -> NoReturn:
        train = self.settings
        raise TrialFailure(
            f"training diverged: the {name} is {loss:.3g} at epoch {len(self.history) + 1}"
            f" (train.lr={train.lr:g}, train.lr_ratio={train.lr_ratio:g}), where a guess has"
            f" {self.task.guess:.3g}; a lower train.lr may help"
        )

    def _tell(self, epoch: int, metrics: dict[str, float]) -> None:
        """Report an epoch, and stop where that is the answer and epochs are left."""
        stop = False
        if self.on_epoch is not None and self.trainer.is_global_zero:
            stop = self.on_epoch(epoch, metrics, least_epochs(*self._so_far))
        # every rank stops in the same epoch, or the others wait for ever
        if self.trainer.strategy.broadcast(stop) and epoch + 1 < self.course.epochs:
            self.stopped = True
            self.trainer.should_stop = True


def decay_of(train: TrainSettings, steps: int) -> float:
    """The weight decay of new layers in a training of so many steps.

    By default one that renews a weight ``TURNOVER`` times: AdamW's weights are an average of their
    last updates, and what share of a training it spans matters, not the decay by itself (Wang and
    Aitchison 2024).
    """
    if train.weight_decay != "auto":
        return train.weight_decay
    if train.optimizer == "sgd":
        return SGD_DECAY
    return min(TURNOVER / steps, MOST_DECAY) / train.lr


def _by_group(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
    """A saved state for an optimiser whose groups hold more, or learn at other rates.

    Torch numbers parameters through all groups: a block that is thawed here, and was frozen there,
    would shift those above it.
    """
    numbers = {group["name"]: group["params"] for group in saved["param_groups"]}
    groups, state, n = [], {}, 0
    for group in optimizer.param_groups:
        own = range(n, n + len(group["params"]))
        n += len(own)
        for new, old in zip(own, numbers.get(group["name"], ()), strict=False):
            if old in saved["state"]:
                state[new] = saved["state"][old]
        groups.append({**group, "params": list(own)})
    return {"state": state, "param_groups": groups}


def _flat(step: int) -> float:
    return 1.0
