"""(a) Lightning with its BackboneFinetuning callback: one Trainer a trial."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from job import BATCH, LEARNING_RATE, Images, Job, Outcome, Place
from pytorch_lightning.callbacks import BackboneFinetuning
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from opponents.trial import Train, Trial, sampled


class Probe(pl.LightningModule):
    """As the callback's documentation shows it: a ``backbone`` and a head."""

    def __init__(self, backbone: nn.Module, head: nn.Module, weight_decay: float) -> None:
        super().__init__()
        self.backbone, self.head, self.weight_decay = backbone, head, weight_decay

    def forward(self, x_bchw: Tensor) -> Tensor:
        """[batch, classes] logits."""
        logits: Tensor = self.head(self.backbone(x_bchw))
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Accuracy."""
        right = (self(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log("accuracy", right, batch_size=len(batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The head's parameters; the callback adds the backbone's when it thaws."""
        return torch.optim.AdamW(
            self.head.parameters(), lr=LEARNING_RATE, weight_decay=self.weight_decay
        )


class Stopwatch(pl.Callback):
    """Seconds of each epoch, its validation among them."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.began = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start."""
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop: validation comes before this."""
        self.epochs.append(time.perf_counter() - self.began)


def lightning(job: Job) -> Outcome:
    """The callback's defaults, which leave BatchNorm trainable."""
    return _run(job, {})


def lightning_without_bn(job: Job) -> Outcome:
    """With train_bn=False."""
    return _run(job, {"train_bn": False})


def _run(job: Job, options: dict[str, Any]) -> Outcome:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    return sampled(job, job.effort.lightning_cuts, _trainer_with(options), all_epochs=False)


def _trainer_with(options: dict[str, Any]) -> Train:
    def train(job: Job, images: Images, place: Place, epochs: int) -> Trial:
        cut, penalty, seed = place
        began = time.perf_counter()
        torch.manual_seed(seed)
        rows, watch = job.draw(seed), Stopwatch()
        fit = TensorDataset(images.x_fit[rows], images.y_fit[rows])
        select = TensorDataset(images.x_select, images.y_select)
        # it leaves the backbone to the optimiser from epoch 10 on: never, in ten epochs
        callbacks = [BackboneFinetuning(**options), watch]
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on workers and logging intervals
            trainer = pl.Trainer(
                max_epochs=epochs, accelerator="cpu", callbacks=callbacks, default_root_dir=folder,
                enable_progress_bar=False, enable_model_summary=False,
            )  # fmt: skip
            module = Probe(job.backbone(cut), job.head(cut), penalty)
            loaders = (
                DataLoader(fit, batch_size=BATCH, shuffle=True),
                DataLoader(select, batch_size=BATCH),
            )
            trainer.fit(module, *loaders)
        score = float(trainer.callback_metrics["accuracy"])
        return Trial(time.perf_counter() - began, tuple(watch.epochs), score)

    return train
