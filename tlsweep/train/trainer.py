"""Lightning's Trainer as tlsweep uses it: without files and bars, silent on what is meant."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy

from tlsweep.engine.group import in_group
from tlsweep.errors import interrupts_heard
from tlsweep.train.loading import device_of
from tlsweep.train.settings import TrainSettings

# Lightning announces devices, tips, ranks and "max_epochs reached" for every Trainer: sixty times a
# sweep
for _name in (
    "pytorch_lightning.utilities.rank_zero",
    "pytorch_lightning.accelerators.cuda",
    "lightning_fabric.utilities.distributed",
    "lightning_fabric.utilities.rank_zero",
):
    logging.getLogger(_name).setLevel(logging.WARNING)

_EXPECTED = (
    # true of small data that is read from memory, and no fault
    "The '.*_dataloader' does not have many workers",
    "The number of training batches",
    # true and meant: frozen blocks stay in eval mode
    "Found .* module.* in eval mode at the start of training",
    # a pass writes what it finds, batch by batch, and its sampler leaves nothing out
    "predict returned None",
    "You are using a custom batch sampler `BatchShare` for prediction",
    # a login node of a cluster, where nobody meant to train several processes with it
    "The `srun` command is available on your system but is not used",
    # Lightning 2.6 against torch 2.15's own pytree
    r".*isinstance\(treespec, LeafSpec\).* is deprecated",
)


def alone(train: TrainSettings, **options: Any) -> pl.Trainer:
    """A Trainer for this process by itself; for a member of a group on the member's own device."""
    own = in_group() and device_of(train).type == "cuda"
    return trainer(train, [int(os.environ["LOCAL_RANK"])] if own else 1, "auto", **options)


def trainer(
    train: TrainSettings, devices: int | list[int], strategy: Any, **options: Any
) -> pl.Trainer:
    """A Trainer for ``devices`` of the accelerator and at the precision of ``train``."""
    return pl.Trainer(
        accelerator=train.accelerator,
        devices=devices,
        strategy=strategy,
        precision=train.precision,
        deterministic="warn" if torch.cuda.is_available() else True,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def wrap_again(trainer: pl.Trainer) -> None:
    """Let DDP share the gradients of what asks for them now: it looks when it wraps a module.

    So no phase has parameters that are there and not used, which DDP would have to look for.
    """
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy):
        strategy.model = strategy.lightning_module
        strategy.configure_ddp()


@contextmanager
def tamed() -> Iterator[None]:
    """Within, Lightning does not warn of what is meant, and Ctrl-C raises KeyboardInterrupt.

    Deterministic algorithms come without their guard against reading memory before it is written,
    which writes every output twice.
    """
    guard: Any = torch.utils.deterministic
    guarded, guard.fill_uninitialized_memory = guard.fill_uninitialized_memory, False
    try:
        with interrupts_heard(), warnings.catch_warnings():
            for message in _EXPECTED:
                warnings.filterwarnings("ignore", message=message)
            yield
    except SystemExit as stop:
        # Lightning turns Ctrl-C into SystemExit(1), and ignores further ones from then on
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from stop
    finally:
        guard.fill_uninitialized_memory = guarded


def rank_of(train: TrainSettings) -> int:
    """This process's rank in its group; 0 for one device, whatever the environment says."""
    return int(os.environ.get("RANK", "0")) if train.devices > 1 else 0
