"""A sweep's trial that lost its process goes on from its last checkpoint, and ends as unbroken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tlsweep.config.settings import Settings
from tlsweep.terms import Split
from tlsweep.trial import resolve, train_plan
from tlsweep.trial.train import checkpoints_folder


class Gone(Exception):  # noqa: N818 - stands for a process that ends
    """The process is gone."""


def test_it_trains_only_the_epochs_that_are_left(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlsweep.trial.train.EVERY", 0.0)
    asked = settings("plan=finetune", "train.epochs=4", "train.settle=false", "stage=search")
    whole = train_plan(resolve(asked), None)
    trial = replace(resolve(asked), in_sweep=True)
    told: list[int] = []

    def gone(epoch: int, metrics: dict[str, float], least: int) -> bool:
        told.append(epoch)
        if len(told) == 3:
            raise Gone
        return False

    with pytest.raises(Gone):
        train_plan(trial, gone)
    (file,) = checkpoints_folder(trial.folder).iterdir()
    told.append(-1)
    again = train_plan(trial, gone)
    assert told == [0, 1, 2, -1, 0, 1, 2, 3]
    assert again.history == whole.history
    assert np.array_equal(again.logits[Split.SELECT], whole.logits[Split.SELECT])
    assert not file.exists()  # nobody takes it up any more
