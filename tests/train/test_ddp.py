"""One plan trained by two processes: the same scores as by one, at the same global batch."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import pytorch_lightning as pl
import torch
from conftest_train import CLASSES, Pairs, feed, network, settings
from test_thaw import Mine
from torch.utils.data import DataLoader, TensorDataset

import tlsweep
from tlsweep.engine.group import Tell, run_in_group
from tlsweep.errors import TrialFailure
from tlsweep.plan import TransferPlan, monotone
from tlsweep.schedule.base import Ending, FreezeSchedule
from tlsweep.schedule.gradual import gradual
from tlsweep.terms import BlockState
from tlsweep.train.adapt import adapt
from tlsweep.train.fit import fit, predict
from tlsweep.train.sampling import EpochSampler, ShareSampler

# gradients are averaged over two halves of the batch in place of one mean over all of it: the
# same numbers in another order of summation
TOLERANCE = 2e-5


T, A = BlockState.TUNED, BlockState.ADAPTED
SCHEDULES = {
    "from the top": gradual(monotone(0, 3, 3, 3), Ending("epochs", 1)),
    "from the bottom, adapted": gradual(TransferPlan((T, A, T)), Ending("epochs", 1), "bottom"),
    "one region": FreezeSchedule((frozenset({1}),)),
}


def train_in_phases(devices: int, name: str, tell: Callable[[Any], None]) -> dict[str, Any]:
    """Train all phases of a schedule without BatchNorm, whose batch a device halves."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(40, 1, 8, 8, generator=generator), torch.arange(40) % 3
    images = Pairs(x, y)
    net = network(dropout=0.0)
    for block in net.blocks:
        block[1] = torch.nn.Identity()
    if "adapted" in name:
        adapt(net.blocks, {1}, rank=2, scale=1.0, seed=0)
        net.adapted = frozenset({1})
    strategy = "ddp" if devices > 1 else "auto"

    def on_epoch(epoch: int, metrics: dict[str, float], least: int) -> bool:
        tell(metrics["frozen_blocks"])
        return False

    fitted = fit(
        net,
        SCHEDULES[name],
        feed(images),
        settings(devices=devices, strategy=strategy, optimizer="sgd", lr=1e-3),
        kept=range(3),
        seed=0,
        task=CLASSES,
        on_epoch=on_epoch,
    )
    return {"history": fitted.history, "predicted": predict(net, images, settings())}


@pytest.mark.parametrize("name", SCHEDULES)
def test_two_processes_score_as_one_does(name: str) -> None:
    frozen: list[float] = []
    together = run_in_group(2, train_in_phases, 2, name, on_message=frozen.append)
    alone = train_in_phases(1, name, lambda message: None)
    assert frozen == ([2.0] * 4 if name == "one region" else [3.0, 2.0, 1.0, 0.0])
    assert np.allclose(together["predicted"], alone["predicted"], atol=TOLERANCE)
    for ours, theirs in zip(together["history"], alone["history"], strict=True):
        assert ours["select_loss"] == pytest.approx(theirs["select_loss"], abs=TOLERANCE)
        assert ours["fit_loss"] == pytest.approx(theirs["fit_loss"], abs=TOLERANCE)


def train_and_keep_what_is_said(file: str, name: str, tell: Callable[[Any], None]) -> str:
    """What two processes write to their standard error, from Python or from torch's C++."""
    with open(file, "ab", buffering=0) as kept:  # noqa: PTH123 - a descriptor
        os.dup2(kept.fileno(), 2)
    train_in_phases(2, name, tell)
    torch.distributed.barrier()
    return Path(file).read_text()


def test_two_processes_train_all_phases_without_a_warning_of_unused_parameters(
    tmp_path: Path,
) -> None:
    file, frozen = str(tmp_path / "said"), list[float]()
    arguments = train_and_keep_what_is_said, file, "from the top"
    said = run_in_group(2, *arguments, on_message=frozen.append)
    assert frozen == [3.0, 2.0, 1.0, 0.0]
    assert "Warning" not in said, said


def thaw_a_module_of_ones_own(tell: Callable[[Any], None]) -> tuple[bool, list[str]]:
    """Whether both processes end with the same weights, and the names of those that never moved."""
    module, first = Mine(), Mine()
    x = torch.rand(24, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    trainer = pl.Trainer(
        max_epochs=4, callbacks=[tlsweep.Thaw([*module.layers])], accelerator="cpu", devices=2,
        strategy="ddp", limit_val_batches=0, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(x, torch.arange(24) % 3), batch_size=4))
    own = torch.cat([p.detach().flatten() for p in module.parameters()])
    both = [torch.zeros_like(own) for _ in range(2)]
    torch.distributed.all_gather(both, own)
    pairs = zip(first.named_parameters(), module.parameters(), strict=True)
    return torch.equal(*both), [name for (name, p), now in pairs if torch.equal(p, now)]


def test_two_processes_thaw_a_module_of_ones_own_alike() -> None:
    same, unmoved = run_in_group(2, thaw_a_module_of_ones_own, on_message=lambda message: None)
    assert same
    assert unmoved == []


def train_until_told(tell: Tell) -> list[int]:
    """How many epochs each of two processes trained."""
    generator = torch.Generator().manual_seed(0)
    images = Pairs(torch.rand(40, 1, 8, 8, generator=generator), torch.arange(40) % 3)

    def on_epoch(epoch: int, metrics: dict[str, float], least: int) -> bool:
        return bool(tell.ask(epoch))

    fitted = fit(
        network(), SCHEDULES["one region"], feed(images),
        settings(devices=2, strategy="ddp", epochs=5), kept=range(3), seed=0, task=CLASSES,
        on_epoch=on_epoch,
    )  # fmt: skip
    epochs = torch.tensor([len(fitted.history)])
    both = [torch.zeros_like(epochs) for _ in range(2)]
    torch.distributed.all_gather(both, epochs)
    return [int(one) for one in both] if fitted.stopped else []


def test_a_training_that_is_given_up_ends_in_all_processes_after_the_same_epoch() -> None:
    """What the sweep's pruner says is heard by the rank that asks, and obeyed by all."""
    assert run_in_group(2, train_until_told, on_message=lambda epoch: epoch == 1) == [2, 2]


def fail_in_rank_1(tell: Callable[[Any], None]) -> None:
    """Rank 1 breaks down while rank 0 waits for it."""
    import time

    if os.environ["RANK"] == "1":
        raise TrialFailure("the loss is nan")
    time.sleep(60)


def test_a_rank_that_fails_ends_the_group_with_its_reason() -> None:
    with pytest.raises(TrialFailure, match="the loss is nan"):
        run_in_group(2, fail_in_rank_1, on_message=lambda message: None)


@pytest.fixture
def left() -> Iterator[Path]:
    """A folder for temporary files with a short path: a socket's has at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        yield Path(folder)


def test_no_member_outlives_a_parent_that_was_killed_and_nothing_is_left(
    tmp_path: Path, left: Path
) -> None:
    pids = tmp_path
    command = [sys.executable, str(Path(__file__).parent / "group_driver.py"), str(pids)]
    driver = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(left)})
    members: list[psutil.Process] = []
    while len(members) < 2:
        assert driver.poll() is None
        members = [psutil.Process(int(text)) for f in pids.iterdir() if (text := f.read_text())]
        time.sleep(0.1)
    assert list(left.glob("tlsweep-group-*"))
    driver.kill()
    driver.wait()
    gone, alive = psutil.wait_procs(members, timeout=10)
    assert (len(gone), alive) == (2, [])
    assert not list(left.glob("tlsweep-group-*"))


def test_a_group_that_cannot_start_says_why() -> None:
    """Not that processes which never started cannot be joined."""
    with pytest.raises((pickle.PicklingError, AttributeError), match=r"pickle|local"):
        run_in_group(2, lambda tell: None, on_message=lambda message: None)


@pytest.mark.parametrize(("n", "world"), [(40, 1), (40, 2), (41, 2), (7, 3)])
def test_the_devices_together_see_each_image_once_in_one_devices_order(n: int, world: int) -> None:
    whole = EpochSampler(n, seed=1)
    whole.set_epoch(2)
    order = list(whole)
    shares = []
    for rank in range(world):
        share = EpochSampler(n, seed=1, rank=rank, world=world)
        share.set_epoch(2)
        shares.append(list(share))
    mixed = [i for step in zip(*shares, strict=True) for i in step]
    assert mixed == order[: n // world * world]
    scored = [i for r in range(world) for i in ShareSampler(n, rank=r, world=world)]
    assert sorted(scored) == list(range(n))
