"""Fit one plan: data loaders, Trainer, and the predictions of the trained network."""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch

from tlsweep.errors import TrialFailure
from tlsweep.schedule.base import FreezeSchedule
from tlsweep.target.batch import Batch, Side
from tlsweep.task import Task
from tlsweep.train.feed import Feed, FeedModule
from tlsweep.train.freeze import FreezeCallback
from tlsweep.train.loading import Examples, in_batches
from tlsweep.train.module import OnEpoch, PlanModule
from tlsweep.train.network import PlanNetwork
from tlsweep.train.settings import TrainSettings
from tlsweep.train.stage import KeepStage, Shelf
from tlsweep.train.trainer import alone, rank_of, tamed, trainer

Evaluate = Literal["every", "last", "never"]


@dataclass(frozen=True)
class Fitted:
    """What training gave: metrics of every epoch, and how it ended.

    stopped: early, on request; settled: whether its training loss had settled (train/settle.py).
    """

    history: tuple[dict[str, float], ...]
    stopped: bool
    settled: bool


class _Epoch(pl.Callback):
    """Scores the select split in the epochs that want it, and closes every epoch.

    Comes before all that read an epoch's metrics.
    """

    def __init__(self, data: FeedModule, evaluate: Evaluate) -> None:
        self.data, self.evaluate = data, evaluate
        self._wanted = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, PlanModule)
        last = len(pl_module.history) + 1 >= pl_module.course.epochs
        wanted = self.evaluate == "every" or (self.evaluate == "last" and last)
        self._wanted = wanted and self.data.holds_out
        trainer.limit_val_batches = (
            1.0 if self._wanted else 0
        )  # Lightning looks at each epoch's end

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, PlanModule)
        pl_module.close_epoch(evaluated=self._wanted)


class _LastCheckpoint(pl.Callback):
    """Writes the run's state after an epoch, whole or not at all.

    every: seconds from one to the next, at least.
    """

    def __init__(self, path: Path, every: float) -> None:
        self.path, self.every = path, every
        self._last = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        now = time.monotonic()
        # all ranks of a group write together: what one's clock says holds for all
        if not trainer.strategy.broadcast(now - self._last >= self.every):
            return
        self._last = now
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(f".part{os.getppid()}")  # the same in all ranks of a group
        trainer.save_checkpoint(part, weights_only=False)  # optimiser and clock too
        if trainer.is_global_zero:
            os.replace(part, self.path)  # noqa: PTH105 - the atomic one


class _Calibrate(pl.Callback):
    """Measures the head's standardisation where training will be, and at its precision."""

    def __init__(self, data: FeedModule) -> None:
        self.data = data

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        examples, data = self.data.open().fit, self.data
        truth: list[torch.Tensor] = []

        def batches() -> Iterator[tuple[torch.Tensor, Side]]:
            there = pl_module.device
            for z, side, y in in_batches(examples, data.settings):
                truth.append(y)
                yield z.to(there), {name: tensor.to(there) for name, tensor in side.items()}

        with trainer.precision_plugin.forward_context():
            data.network.calibrate(batches(), data.seed)
        data.network.head.calibrate_outputs(torch.cat(truth))


def fit(
    network: PlanNetwork,
    schedule: FreezeSchedule,
    feed: Feed,
    train: TrainSettings,
    *,
    kept: Sequence[int],
    seed: int,
    task: Task,
    on_epoch: OnEpoch | None = None,
    checkpoint: Path | None = None,
    every: float | None = None,
    shelf: Shelf | None = None,
    evaluate: Evaluate = "every",
    fitted: bool = False,
    early: bool = True,
) -> Fitted:
    """Train ``network`` in place.

    feed: the data of each epoch; kept: the blocks that are the source's, from the input up (lower
    rate); task: its loss is minimised;
    on_epoch: told each epoch's metrics and how many epochs there are at least, True stops;
    checkpoint: where the state is kept after every epoch, and where ``train.resume`` goes on from;
    every: seconds in which that is done once; training then goes on from what is there;
    shelf: where the state after the schedule's first phase is kept, and taken from in place of
    training that phase again; evaluate: the epochs after which the select split is scored, where
    there is one (all, where a plateau of its loss ends phases); fitted: whether the head is at its
    optimum, with its standardisation, already; early: whether training ends once its loss has
    settled.
    Raises TrialFailure if training diverges, and for a state to go on from that is no state.
    """
    network.steady = frozenset(kept if train.batch_norm == "source" else ())
    network.thaw(schedule.thawed[0])
    last, several = schedule.thawed[-1], len(schedule.thawed) > 1
    anew = schedule.ending.epochs if schedule.anew and several else None
    module = PlanModule(
        network, train, kept=kept, last=last, task=task, seed=seed, fitted=fitted, early=early,
        anew=anew,
    )  # fmt: skip
    module.on_epoch = on_epoch
    data, freezing = FeedModule(feed, module, rank_of(train)), FreezeCallback(schedule)
    if schedule.ending.until == "plateau" and several:
        evaluate = "every"
    callbacks: list[pl.Callback] = [_Epoch(data, evaluate), freezing]
    if checkpoint is not None:
        callbacks.append(_LastCheckpoint(checkpoint, every or 0.0))
    goes_on = train.resume or every is not None
    resumed = goes_on and checkpoint is not None and checkpoint.exists()
    with contextlib.ExitStack() as stack:
        begin: Path | None = checkpoint if resumed else None
        if shelf is not None and not resumed and several:
            begin = stack.enter_context(shelf.found())
            if begin is None:
                callbacks.append(KeepStage(freezing.clock, shelf))
        if begin is None and not fitted:
            callbacks.append(_Calibrate(data))  # after the callback that freezes
        stack.enter_context(tamed())
        _train(_runner(train, callbacks), module, data, begin)
    network.thaw(_trained_last(module, schedule))
    return Fitted(tuple(module.history), module.stopped, module.course.settled)


def _train(runner: pl.Trainer, module: PlanModule, data: FeedModule, begin: Path | None) -> None:
    """Train, from the state in ``begin`` where there is one; nothing in it is run."""
    try:
        runner.fit(module, datamodule=data, ckpt_path=begin, weights_only=True)
    except pickle.UnpicklingError as error:
        raise TrialFailure(
            f"{begin}, which training was to go on from, is no state that tlsweep wrote: it is"
            " damaged, or holds code, which is not run. Delete it; if it is one that trials share,"
            " python -m tlsweep cache action=clear"
        ) from error


def _trained_last(module: PlanModule, schedule: FreezeSchedule) -> frozenset[int]:
    """The blocks that the last epoch trained; a phase that was to follow it never came."""
    frozen, blocks = module.history[-1]["frozen_blocks"], len(module.network.blocks)
    return next(t for t in schedule.thawed if blocks - len(t) == frozen)


def _runner(train: TrainSettings, callbacks: list[pl.Callback]) -> pl.Trainer:
    return trainer(
        train,
        train.devices,
        train.strategy,
        max_epochs=train.epochs,
        accumulate_grad_batches=train.accumulate,
        callbacks=callbacks,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        limit_val_batches=0,  # until an epoch wants it
    )


class _Predictions(pl.LightningModule):
    def __init__(self, network: PlanNetwork) -> None:
        super().__init__()
        self.network = network

    def predict_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """[batch, outputs]."""
        outputs: torch.Tensor = self.network(batch.z, batch.side)
        return outputs.float().cpu()


def predict(
    network: PlanNetwork, examples: Examples, train: TrainSettings
) -> npt.NDArray[np.float32]:
    """Outputs [examples, outputs] in eval mode, in the order of ``examples``.

    Raises TrialFailure where they are not finite.
    """
    with tamed():
        found = alone(train).predict(_Predictions(network), in_batches(examples, train))
    answers = torch.cat([p for p in found or [] if isinstance(p, torch.Tensor)])
    if not answers.isfinite().all():
        raise TrialFailure(
            "training diverged: the trained network's answers are not finite"
            f" (train.lr={train.lr:g}); a lower train.lr may help"
        )
    return answers.numpy()
