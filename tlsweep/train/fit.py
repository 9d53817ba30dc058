"""Fit one plan: data loaders, Trainer, and the predictions of the trained network."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy

from tlsweep.config import TrainSettings
from tlsweep.train.feed import Feed, FeedModule
from tlsweep.train.freeze import FreezeCallback
from tlsweep.train.loading import Images, device_of, in_batches
from tlsweep.train.module import OnEpoch, PlanModule
from tlsweep.train.network import PlanNetwork
from tlsweep.train.schedule import FreezeSchedule
from tlsweep.train.stage import KeepStage, Shelf

# Lightning announces devices, tips and "max_epochs reached" for every Trainer: sixty times a sweep
for _name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
    logging.getLogger(_name).setLevel(logging.WARNING)

_EXPECTED = (
    # true of small data that is read from memory, and no fault
    "The '.*_dataloader' does not have many workers",
    "The number of training batches",
    # true and meant: frozen blocks stay in eval mode
    "Found .* module.* in eval mode at the start of training",
    # Lightning 2.6 against torch 2.15's own pytree
    r".*isinstance\(treespec, LeafSpec\).* is deprecated",
)


@dataclass(frozen=True)
class Fitted:
    """What training gave: metrics of every epoch, and whether it was stopped early on request."""

    history: tuple[dict[str, float], ...]
    stopped: bool


class _LastCheckpoint(pl.Callback):
    """Writes the run's state after every epoch, whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        part = self.path.with_suffix(f".part{os.getppid()}")  # the same in all ranks of a group
        trainer.save_checkpoint(part, weights_only=False)  # optimiser and clock too
        if trainer.is_global_zero:
            os.replace(part, self.path)  # noqa: PTH105 - the atomic one


def fit(
    network: PlanNetwork,
    schedule: FreezeSchedule,
    feed: Feed,
    train: TrainSettings,
    *,
    keep: int,
    seed: int,
    on_epoch: OnEpoch | None = None,
    checkpoint: Path | None = None,
    shelf: Shelf | None = None,
) -> Fitted:
    """Train ``network`` in place.

    feed: the data of each epoch; keep: blocks before this one are the source's (lower rate);
    on_epoch: told each epoch's metrics, True stops; checkpoint: where the state is kept after every
    epoch, and where ``train.resume`` goes on from; shelf: where the state after the schedule's
    first phase is kept, and taken from in place of training that phase again.
    Raises TrialFailure if the loss is not finite.
    """
    network.freeze(schedule.freezes[0])
    data = FeedModule(feed, network, train, seed, rank_of(train))
    module = PlanModule(network, train, keep=keep, n_classes=_n_classes(network), seed=seed)
    module.on_epoch = on_epoch
    freezing = FreezeCallback(schedule)
    callbacks: list[pl.Callback] = [freezing]
    if checkpoint is not None:
        callbacks.append(_LastCheckpoint(checkpoint))
    resumed = train.resume and checkpoint is not None and checkpoint.exists()
    with contextlib.ExitStack() as stack:
        begin: Path | None = checkpoint if resumed else None
        if shelf is not None and not resumed and len(schedule.freezes) > 1:
            begin = stack.enter_context(shelf.found())
            if begin is None:
                callbacks.append(KeepStage(freezing.clock, shelf))
        if begin is None:
            fit_images = data.open(epoch=0).fit
            network.calibrate((x for x, _ in in_batches(fit_images, train)), seed)
        trainer = _trainer(train, schedule, callbacks)
        stack.enter_context(warnings.catch_warnings())
        for message in _EXPECTED:
            warnings.filterwarnings("ignore", message=message)
        trainer.fit(module, datamodule=data, ckpt_path=begin, weights_only=True)
    return Fitted(tuple(module.history), module.stopped)


def _trainer(
    train: TrainSettings, schedule: FreezeSchedule, callbacks: list[pl.Callback]
) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=train.epochs,
        accelerator=train.accelerator,
        devices=train.devices,
        strategy=_strategy(train, schedule),
        precision=train.precision,
        callbacks=callbacks,
        deterministic="warn" if torch.cuda.is_available() else True,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def rank_of(train: TrainSettings) -> int:
    """This process's rank in its group; 0 for one device, whatever the environment says."""
    return int(os.environ.get("RANK", "0")) if train.devices > 1 else 0


@torch.no_grad()
def predict(network: PlanNetwork, images: Images, train: TrainSettings) -> npt.NDArray[np.float32]:
    """Class probabilities [images, classes] in eval mode, in the order of ``images``."""
    device = device_of(train)
    network.eval().to(device)
    parts = [
        network(x_bchw.to(device)).float().softmax(1).cpu()
        for x_bchw, _ in in_batches(images, train)
    ]
    return torch.cat(parts).numpy()


def _n_classes(network: PlanNetwork) -> int:
    last = [m for m in network.head.modules() if isinstance(m, torch.nn.Linear)][-1]
    return last.out_features


def _strategy(train: TrainSettings, schedule: FreezeSchedule) -> Any:
    if train.strategy != "ddp":
        return "auto"
    # blocks that a later phase thaws take no part in the first phases' backward passes
    return DDPStrategy(find_unused_parameters=len(schedule.freezes) > 1)
