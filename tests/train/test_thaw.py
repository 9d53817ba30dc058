"""Freeze schedules in a LightningModule that is not ours."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tlsweep
from tlsweep.errors import Refusal
from tlsweep.schedule.base import FreezeSchedule
from tlsweep.train.freeze import FreezeCallback

EPOCHS = 4


class Mine(pl.LightningModule):
    """Three blocks (convolution, BatchNorm, dropout) and a linear layer, trained as one does."""

    def __init__(self, asking: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.asking = asking
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3), nn.BatchNorm2d(o), nn.ReLU(), nn.Dropout(0.3))
            for i, o in ((1, 4), (4, 4), (4, 6))
        )
        self.classify = nn.Linear(6, 3)
        self.losses = [5.0, 4.0, 3.99, 3.0]  # as if they were those of validation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.classify(x.mean((2, 3)))

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self(x), y)

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.losses[self.current_epoch])

    def on_train_epoch_start(self) -> None:
        self.train()  # as many do, whatever is frozen

    def on_train_batch_start(self, batch: Any, index: int) -> None:
        torch.manual_seed(10 * self.current_epoch + index)  # of dropout, wherever a run begins

    def configure_optimizers(self) -> torch.optim.Optimizer:
        asking = [p for p in self.parameters() if p.requires_grad or not self.asking]
        return torch.optim.AdamW(asking, lr=1e-2, weight_decay=0.5)


class Watch(pl.Callback):
    """Notes after every epoch all tensors, and which blocks were in training mode in it."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []
        self.training: dict[int, set[int]] = {}

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        awake = {
            i for i, layer in enumerate(module.layers) if any(m.training for m in layer.modules())
        }
        assert self.training.setdefault(trainer.current_epoch, awake) == awake

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.states.append(copy.deepcopy(module.state_dict()))


def train(
    module: Mine,
    thaw: pl.Callback,
    epochs: int = EPOCHS,
    goes_on: Path | None = None,
    keep: Path | None = None,
) -> Watch:
    """Train; goes_on, keep: checkpoints that it begins with and ends with."""
    watch = Watch()
    x = torch.rand(24, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    data = DataLoader(TensorDataset(x, torch.arange(24) % 3), batch_size=8)
    trainer = pl.Trainer(
        max_epochs=epochs, callbacks=[thaw, watch], logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, data, data, ckpt_path=goes_on, weights_only=goes_on is not None)
    watch.states.insert(0, Mine().state_dict())
    if keep is not None:
        trainer.save_checkpoint(keep)
    return watch


def changed(watch: Watch, epoch: int) -> set[int]:
    """The blocks of which any tensor changed in an epoch, statistics of BatchNorm among them."""
    before, after = watch.states[epoch], watch.states[epoch + 1]
    names = [name for name in after if name.startswith("layers")]
    return {int(name.split(".")[1]) for name in names if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("options", "thawed"),
    [
        ({}, [set(), {2}, {1, 2}, {0, 1, 2}]),  # one more a phase, from the top
        ({"phases": [[], [0, 1, 2]], "epochs": 2}, [set(), set(), {0, 1, 2}, {0, 1, 2}]),
        ({"phases": [[1], [0, 1]], "epochs": 3}, [{1}, {1}, {1}, {0, 1}]),
        ({"phases": [[], [2]], "until": "plateau", "patience": 1, "epochs": 9},
         [set()] * 4),  # 3.99 is lower than 4.0
        ({"phases": [[], [2]], "until": "plateau", "patience": 1, "epochs": 9, "min_delta": 0.1},
         [set(), set(), set(), {2}]),
        ({"phases": [[], [2]], "until": "grad_norm", "grad_share": 0.99, "epochs": 2},
         [set(), None, {2}, {2}]),
    ],
)  # fmt: skip
def test_just_the_blocks_of_a_phase_change_in_it_and_frozen_ones_are_in_eval_mode(
    options: dict[str, Any], thawed: list[set[int] | None]
) -> None:
    """Weights, weight decay and statistics of BatchNorm alike, though the module calls train()."""
    module = Mine()
    watch = train(module, tlsweep.Thaw([*module.layers], **options))
    for epoch, blocks in enumerate(thawed):
        if blocks is not None:
            assert changed(watch, epoch) == blocks
            assert watch.training[epoch] == blocks
        names = ("classify.weight", "classify.bias")
        before, after = watch.states[epoch], watch.states[epoch + 1]
        assert not any(torch.equal(before[name], after[name]) for name in names)


def test_with_all_thawed_from_the_start_it_changes_nothing() -> None:
    plain, ours = Mine(), Mine()
    first = train(plain, tlsweep.Thaw([plain.classify], [[0]]))
    second = train(ours, tlsweep.Thaw([*ours.layers], [[0, 1, 2]]))
    for name, value in first.states[-1].items():
        assert torch.equal(value, second.states[-1][name])


def test_what_was_frozen_or_in_eval_mode_before_stays_so_when_it_thaws() -> None:
    module = Mine()
    module.layers[2][0].bias.requires_grad_(False)
    module.layers[2][1].eval()
    module.on_train_epoch_start = lambda: None  # type: ignore[method-assign]  # calls no train()
    watch = train(module, tlsweep.Thaw([module.layers[2]], [[], [0]]))
    changes = {n for n, v in watch.states[-1].items() if not torch.equal(v, watch.states[1][n])}
    assert "layers.2.0.weight" in changes
    assert not changes & {"layers.2.0.bias", "layers.2.1.running_mean"}


@pytest.mark.parametrize("ended_after", [1, 2, 3])
def test_a_run_that_goes_on_ends_as_one_in_one_go(ended_after: int, tmp_path: Path) -> None:
    whole = Mine()
    straight = train(whole, tlsweep.Thaw([*whole.layers])).states[-1]
    part, file = Mine(), tmp_path / "mine.ckpt"
    train(part, tlsweep.Thaw([*part.layers]), ended_after, keep=file)
    rest = Mine()
    resumed = train(rest, tlsweep.Thaw([*rest.layers]), goes_on=file)
    for name, value in straight.items():
        assert torch.equal(value, resumed.states[-1][name]), name


def refused(attempt: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(Refusal) as caught:
        attempt()
    (fault,) = caught.value.faults
    return fault.value, fault.mend


def test_what_cannot_be_is_refused_by_name() -> None:
    module, other = Mine(), Mine()
    layers = [*module.layers]
    cases = {
        ("Thaw: block 0 (Sequential)", "blocks=[...] of that very object"):
            lambda: train(other, tlsweep.Thaw(layers)),
        ("Thaw: block 0 (Sequential) is in no optimiser",
         "configure_optimizers with self.parameters(), whatever asks for gradients"):
            lambda: train(wise := Mine(asking=True), tlsweep.Thaw([*wise.layers])),
        ("monitor=loss", "monitor=val_loss"):
            lambda: train(module, tlsweep.Thaw(layers, until="plateau", monitor="loss")),
        ("Thaw(blocks=...)", "Thaw(blocks=[net.layer3, net.layer4])"):
            lambda: tlsweep.Thaw(["layer3"]),  # type: ignore[list-item]
        ("Thaw(phases=[[0], [1]])", "phases=[[], [2], [1, 2], [0, 1, 2]]"):
            lambda: tlsweep.Thaw(layers, [[0], [1]]),
        ("Thaw(epochs=0)", "see help(Thaw)"): lambda: tlsweep.Thaw(layers, epochs=0),
        ("FreezeCallback in a Mine",
         "tlsweep.Thaw(blocks=[...]), which thaws blocks of any LightningModule"):
            lambda: train(module, FreezeCallback(FreezeSchedule((frozenset({0}),)))),
    }  # fmt: skip
    for expected, attempt in cases.items():
        assert refused(attempt) == expected
