"""A small plan network, data and settings."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from tlsweep.heads.head import Head, Pooling
from tlsweep.target.batch import Batch
from tlsweep.task import Classes
from tlsweep.train.feed import Fed, Feed
from tlsweep.train.network import PlanNetwork
from tlsweep.train.settings import TrainSettings

CLASSES = Classes(3)


class Pairs(TensorDataset):
    """Inputs and what is true of them; nothing rides along."""

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]
        z, y = super().__getitem__(index)
        return Batch(z, {}, y)


def settings(**changes: object) -> TrainSettings:
    values = {
        "epochs": 4,
        "batch_size": 8,
        "accumulate": 1,
        "out_of_memory": "fail",
        "optimizer": "adamw",
        "lr": 1e-2,
        "lr_ratio": 0.1,
        "block_decay": 1.0,
        "weight_decay": 0.1,
        "settle": True,
        "lr_schedule": "cosine",
        "batch_norm": "source",
        "head_init": "random",
        "head": "linear",
        "head_sizes": None,
        "dropout": 0.0,
        "class_weights": "none",
        "pool": 2,
        "augment": "none",
        "views": 4,
        "crop": 0.7,
        "flip": False,
        "probe": "logistic",
        "probe_penalty": 0.01,
        "precision": "32-true",
        "accelerator": "cpu",
        "devices": 1,
        "strategy": "auto",
        "num_workers": 0,
        "resume": False,
    }
    return TrainSettings.model_validate({**values, **changes})


def network(seed: int = 0, dropout: float = 0.2) -> PlanNetwork:
    """Three blocks (convolution, BatchNorm, dropout) and a linear head for 3 classes."""
    torch.manual_seed(seed)
    blocks = [
        nn.Sequential(
            nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.Dropout(dropout)
        )
        for i, o in ((1, 4), (4, 6), (6, 6))
    ]
    return PlanNetwork(blocks, Head((6, 8, 8), Pooling(1, 2), 3, kind="linear"))


def feed(images: Dataset, entry: int = 0) -> Feed:
    """The same images to train on and to be scored on, in every epoch."""
    fed = Fed(images, images, entry)
    return lambda frozen, epoch: fed
