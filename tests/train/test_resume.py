"""A run that is resumed in the middle of a schedule ends as if it had not been interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest_train import CLASSES, Pairs, feed, network, settings

from tlsweep.plan import monotone
from tlsweep.schedule.base import Ending, FreezeSchedule
from tlsweep.schedule.gradual import gradual
from tlsweep.schedule.two_phase import two_phase
from tlsweep.train.fit import fit

PLAN = monotone(0, 2, 3, 3)
SCHEDULES = {
    "by epochs": two_phase(PLAN, Ending("epochs", 2)),
    "by plateau": two_phase(PLAN, Ending("plateau", 3, patience=1)),
    "by gradient norm": two_phase(PLAN, Ending("grad_norm", 3, grad_share=0.9)),
    "gradual": gradual(PLAN, Ending("epochs", 1)),
    "from the bottom": gradual(PLAN, Ending("epochs", 1), "bottom"),
    "rates anew": replace(gradual(PLAN, Ending("epochs", 1)), anew=True),
}


class KilledError(Exception):
    """Stands for a process that ends."""


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("stop_after", [1, 2, 3])
@pytest.mark.parametrize(
    ("optimizer", "workers"),
    [("adamw", 0), pytest.param("adamw", 2, marks=pytest.mark.slow), ("sgd", 0)],
)
def test_resumed_runs_end_with_the_same_weights_and_history(
    name: str, stop_after: int, optimizer: str, workers: int, images: Pairs, tmp_path: Path
) -> None:
    schedule: FreezeSchedule = SCHEDULES[name]
    straight = network()
    train = settings(optimizer=optimizer, num_workers=workers)
    whole = fit(straight, schedule, feed(images), train, kept=range(2), seed=3, task=CLASSES)

    def kill(epoch: int, metrics: dict[str, float], least: int) -> bool:
        if epoch == stop_after:
            raise KilledError
        return False

    file = tmp_path / "last.ckpt"
    with pytest.raises(KilledError):
        fit(
            network(), schedule, feed(images), train, kept=range(2), seed=3, task=CLASSES,
            on_epoch=kill, checkpoint=file,
        )  # fmt: skip
    resumed = network()
    torch.nn.init.ones_(resumed.head.classify.weight)  # what was trained comes from the checkpoint
    train = settings(optimizer=optimizer, num_workers=workers, resume=True)
    rest = fit(
        resumed, schedule, feed(images), train, kept=range(2), seed=3, task=CLASSES, checkpoint=file
    )
    assert rest.history == whole.history
    for key, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_a_trial_that_another_process_takes_up_tells_of_all_its_epochs_once_more(
    images: Pairs, tmp_path: Path
) -> None:
    told: list[tuple[int, float]] = []

    def tell(epoch: int, metrics: dict[str, float], least: int) -> bool:
        told.append((epoch, metrics["fit_loss"]))
        if len(told) == 3:
            raise KilledError
        return False

    def trained(every: float) -> list[float]:
        again = fit(
            network(), SCHEDULES["gradual"], feed(images), settings(), kept=range(2), seed=3,
            task=CLASSES, on_epoch=tell, checkpoint=file, every=every,
        )  # fmt: skip
        return [metrics["fit_loss"] for metrics in again.history]

    file = tmp_path / "folder" / "trial.ckpt"
    with pytest.raises(KilledError):
        trained(every=1e9)
    assert not file.exists()  # a short trial writes none
    told.clear()
    with pytest.raises(KilledError):
        trained(every=0.0)
    first = list(told)
    told.append((-1, 0.0))
    losses = trained(every=0.0)
    again = told[4:]
    assert again[:2] == first[:2]  # those of the checkpoint, before it goes on
    assert again == list(enumerate(losses))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("ended_after", [1, 2, 3])
def test_a_run_that_goes_on_with_more_epochs_thaws_when_one_in_one_go_does(
    name: str, ended_after: int, images: Pairs, tmp_path: Path
) -> None:
    """Also where it ended on the epoch that thaws; its rates do not hang on its length here."""
    weights, file = [], tmp_path / "last.ckpt"
    for first in (None, ended_after):
        net, history = network(), None
        for epochs in (4,) if first is None else (first, 4):
            train = settings(epochs=epochs, lr_schedule="constant", resume=history is not None)
            history = fit(
                net, SCHEDULES[name], feed(images), train, kept=range(2), seed=3, task=CLASSES,
                checkpoint=file, early=False,
            ).history  # fmt: skip
            last = len(net.blocks) - history[-1]["frozen_blocks"]
            assert len(net.thawed) == last  # nothing is thawed that no epoch trained
            net = net if epochs == 4 else network()
        weights.append((history, net.state_dict()))
    (whole, straight), (rest, resumed) = weights
    assert rest == whole
    for key, value in straight.items():
        assert torch.equal(value, resumed[key]), key


def test_two_runs_with_one_seed_are_identical_and_with_two_are_not(images: Pairs) -> None:
    histories = [
        fit(
            network(),
            SCHEDULES["gradual"],
            feed(images),
            settings(),
            kept=range(2),
            seed=s,
            task=CLASSES,
        ).history
        for s in (5, 5, 6)
    ]
    assert histories[0] == histories[1]
    assert histories[0] != histories[2]
