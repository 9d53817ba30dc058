"""The optimiser under a freeze schedule: parameters come once, by identity, at the right rate."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from conftest_train import CLASSES, Pairs, feed, network, settings
from pytorch_lightning.callbacks import BackboneFinetuning, BaseFinetuning

from tlsweep.plan import monotone
from tlsweep.schedule.base import Ending
from tlsweep.schedule.constant import constant
from tlsweep.schedule.gradual import gradual
from tlsweep.train import fit as fit_room
from tlsweep.train.freeze import FreezeCallback
from tlsweep.train.module import PlanModule, Rates, decay_of

STEPS = 5  # of an epoch


class Watch(pl.Callback):
    """Notes the optimiser's groups and rates at every step."""

    def __init__(self) -> None:
        self.sizes: list[list[int]] = []
        self.rates: list[list[float]] = []
        self.decays: list[list[float]] = []
        self.ids: list[list[int]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        groups = trainer.optimizers[0].param_groups
        self.sizes.append([len(g["params"]) for g in groups])
        self.ids.append([id(p) for g in groups for p in g["params"]])
        self.rates.append([g["lr"] for g in groups])
        self.decays.append([g["weight_decay"] for g in groups])


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Watches every training from here on."""
    watch = Watch()
    trainer = fit_room.pl.Trainer
    monkeypatch.setattr(
        fit_room.pl,
        "Trainer",
        lambda callbacks, **options: trainer(callbacks=[*callbacks, watch], **options),
    )
    return watch


@pytest.fixture
def watched(watch: Watch, images: Pairs) -> Watch:
    schedule = gradual(monotone(0, 3, 3, 3), Ending("epochs", 1))
    train = settings(block_decay=0.5)
    fit_room.fit(network(), schedule, feed(images), train, kept=range(3), seed=0, task=CLASSES)
    return watch


def test_frozen_blocks_are_not_in_the_optimiser(watched: Watch) -> None:
    assert watched.sizes[0] == [0, 0, 0, 2]
    assert watched.sizes[5] == [0, 0, 4, 2]
    assert watched.sizes[-1] == [4, 4, 4, 2]


def test_no_parameter_is_in_the_optimiser_twice(watched: Watch) -> None:
    assert all(len(ids) == len(set(ids)) for ids in watched.ids)


def test_rates_are_held_for_half_of_the_epochs_and_fall_in_the_others(watched: Watch) -> None:
    """What thaws meanwhile learns at the factor of all others."""
    factor = [1.0] * 10 + [0.5 * (1 + math.cos(math.pi * i / 10)) for i in range(11)]
    factor = factor[1:]  # a step's rate is set as the one before it ends
    for block, base in enumerate((1e-2 * 0.1 * 0.25, 1e-2 * 0.1 * 0.5, 1e-2 * 0.1, 1e-2)):
        seen = [rates[block] for rates in watched.rates]
        assert seen == pytest.approx([base * f for f in factor], abs=1e-9)


class Stepped(pl.Callback):
    """Notes the rate of the head at every step that is made."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[-1]["lr"])


def half_cosine(steps: int) -> list[float]:
    return [0.5 * (1 + math.cos(math.pi * i / steps)) for i in range(steps)]


@pytest.mark.parametrize(
    ("phases", "epochs", "rest"),
    [
        (1, 7, 4),  # three phases of one epoch; the last is held for two, and falls in two
        (12, 46, 10),  # three phases of twelve: a tenth of each is more than one epoch
    ],
)
def test_rates_that_begin_anew_rise_and_fall_in_each_phase(
    phases: int, epochs: int, rest: int, watch: Watch, images: Pairs
) -> None:
    stepped = Stepped()
    watch.on_before_optimizer_step = stepped.on_before_optimizer_step  # type: ignore[method-assign]
    schedule = gradual(monotone(0, 3, 3, 3), Ending("epochs", phases))
    fit_room.fit(
        network(), replace(schedule, anew=True), feed(images), settings(epochs=epochs),
        kept=range(3), seed=0, task=CLASSES, early=False,
    )  # fmt: skip
    assert math.ceil(len(images) / 8) == STEPS
    one = half_cosine(STEPS * phases)
    held = (rest // 2) * STEPS
    last = [1.0] * held + half_cosine(rest * STEPS - held)
    expected = []
    for course, length in [(one, phases)] * 3 + [(last, rest)]:
        longest = min(STEPS, 0.1 * length * STEPS)
        rise = [min(1.0, (i + 1) / max(1.0, longest)) for i in range(len(course))]
        expected += [1e-2 * a * b for a, b in zip(rise, course, strict=True)]
    assert stepped.rates == pytest.approx(expected, abs=1e-9)
    assert stepped.rates[0] == pytest.approx(1e-2 if phases == 1 else 1e-2 / STEPS)


def test_rates_fall_by_block_below_the_new_layers() -> None:
    rates = Rates(1.0, 0.1, 0.5)
    assert [rates.of_block(i, kept=(0, 1, 2)) for i in range(5)] == pytest.approx(
        [0.025, 0.05, 0.1, 1, 1]
    )


@pytest.mark.parametrize("fitted", [False, True])
def test_what_has_learned_already_is_not_decayed(watch: Watch, images: Pairs, fitted: bool) -> None:
    schedule = gradual(monotone(0, 2, 3, 3), Ending("epochs", 1))
    train = settings(weight_decay=0.3)
    fit_room.fit(
        network(), schedule, feed(images), train, kept=range(2), seed=0, task=CLASSES, fitted=fitted
    )
    assert {tuple(decays) for decays in watch.decays} == {(0, 0, 0.3, 0 if fitted else 0.3)}


def test_new_layers_are_renewed_as_often_however_long_training_is_and_whatever_its_rate() -> None:
    for lr, steps in [(1e-3, 100), (1e-2, 100), (3e-3, 50_000)]:
        decay = decay_of(settings(weight_decay="auto", lr=lr), steps)
        assert decay * lr * steps == pytest.approx(4)
    few = decay_of(settings(weight_decay="auto", lr=1e-2), 2)
    assert few * 1e-2 == pytest.approx(0.05)  # of a weight in a step: two steps of 2 would undo it
    assert decay_of(settings(weight_decay="auto", optimizer="sgd"), 100) == 1e-3
    assert decay_of(settings(weight_decay=0.3), 100) == 0.3


def test_the_decay_of_a_training_is_that_of_its_own_steps(watch: Watch, images: Pairs) -> None:
    train = settings(weight_decay="auto", epochs=30, lr=1e-2)
    steps = 30 * math.ceil(len(images) / 8)
    plan = constant(monotone(0, 1, 3, 3))
    fit_room.fit(
        network(), plan, feed(images), train, kept=range(1), seed=0, task=CLASSES, early=False
    )
    assert watch.decays[-1] == pytest.approx([0, 400 / steps, 400 / steps, 400 / steps])


# --------------------------------------------------- faults of Lightning's own callback
class TwinBlocks(pl.LightningModule):
    """Two backbone layers with equal values, as after the same constant initialisation."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torch.nn.Sequential(*[torch.nn.Linear(4, 4) for _ in range(2)])
        for layer in self.backbone:
            torch.nn.init.constant_(layer.weight, 0.1)
            torch.nn.init.zeros_(layer.bias)
        self.head = torch.nn.Linear(4, 1)


def test_lightning_skips_thawed_parameters_that_are_equal_by_value() -> None:
    module = TwinBlocks()
    optimizer = torch.optim.SGD([*module.head.parameters(), *module.backbone[0].parameters()], 0.1)
    kept = BaseFinetuning.filter_on_optimizer(optimizer, module.backbone[1].parameters())
    if len(kept) == 2:
        pytest.skip("Lightning has mended filter_on_optimizer")
    assert kept == []


def test_we_train_thawed_parameters_that_are_equal_by_value(images: Pairs) -> None:
    net = network(dropout=0.0)
    with torch.no_grad():
        for block in net.blocks:  # biases and BatchNorm tensors are equal, as torch makes them
            block[0].bias.zero_()
    before = {n: p.clone() for n, p in net.named_parameters()}
    schedule = gradual(monotone(0, 3, 3, 3), Ending("epochs", 1))
    fit_room.fit(net, schedule, feed(images), settings(), kept=range(3), seed=0, task=CLASSES)
    unchanged = [n for n, p in net.named_parameters() if torch.equal(p, before[n])]
    assert unchanged == []


def test_lightning_keeps_batchnorm_in_training_while_frozen_and_we_do_not() -> None:
    # 21531: train_bn=False is honoured only if given, and frozen layers still run in train mode
    theirs = network()
    theirs.train()
    BackboneFinetuning.freeze(theirs.blocks[0], train_bn=True)
    assert theirs.blocks[0][1].training
    ours = network()
    ours.thaw({1, 2})
    ours.train()
    assert not ours.blocks[0][1].training


def test_module_and_callback_agree_on_the_frozen_blocks() -> None:
    net = network()
    module = PlanModule(net, settings(), kept=range(3), last=range(3), task=CLASSES, seed=0)
    callback = FreezeCallback(gradual(monotone(0, 3, 3, 3), Ending()))
    callback.setup(pl.Trainer(logger=False, accelerator="cpu"), module, "fit")
    assert net.thawed == callback.thawed == frozenset()
