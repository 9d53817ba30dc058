"""The first phase of two trials, where it is the same, is trained once and changes no result."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import numpy as np
import pytest

from tlsweep.config.settings import Settings
from tlsweep.extract import activations
from tlsweep.terms import Split
from tlsweep.trial import Trained, resolve, train_plan
from tlsweep.trial.first_phase import FirstPhase

Make = Callable[..., Settings]
TWO_PHASES = ("plan=transfer_tuned", "plan.keep=4", "schedule=two_phase")
TWO_PHASES += ("schedule.epochs=2", "train.epochs=5")

OF_LATER_PHASES = ("train.lr_ratio", "train.block_decay", "plan.freeze", "schedule=")


def epochs_of(asked: Settings) -> tuple[Trained, list[int]]:
    told: list[int] = []

    def on_epoch(epoch: int, metrics: dict[str, float], least: int) -> bool:
        told.append(epoch)
        return False

    return train_plan(resolve(asked), on_epoch), told


@pytest.mark.parametrize(
    "own",
    [
        ("train.lr_ratio=0.5",),
        pytest.param(("train.block_decay=0.7",), marks=pytest.mark.slow),
        ("plan.freeze=2",),
        ("schedule=gradual",),
        ("train.optimizer=sgd", "train.weight_decay=0.01", "train.lr_ratio=0.5"),
        ("train.augment=views", "train.views=2", "train.lr_ratio=0.5"),
        pytest.param(("train.lr_schedule=constant", "train.lr_ratio=0.5"), marks=pytest.mark.slow),
        pytest.param(("schedule.rates=phase", "train.lr_ratio=0.5"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_shared_first_phase_ends_as_one_trained_again(
    settings: Make, own: tuple[str, ...]
) -> None:
    kept = [o for o in own if not o.startswith(OF_LATER_PHASES)]
    here = (*TWO_PHASES, *own)
    alone, _ = epochs_of(settings(*here, "features.budget_gb=0"))
    other, _ = epochs_of(settings(*TWO_PHASES, *kept))
    shared, told = epochs_of(settings(*here))
    assert shared.start.startswith("first phase as another trial trained it")
    assert told == list(range(len(alone.history)))  # the record and the pruner hear of all epochs
    assert shared.history[:2] == other.history[:2]
    assert shared.history != other.history
    for ours, theirs in zip(shared.history, alone.history, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)  # stored activations, as in test_inputs
    assert np.array_equal(
        shared.logits[Split.SELECT].argmax(1), alone.logits[Split.SELECT].argmax(1)
    )


def test_who_takes_the_phase_ends_as_who_trained_it(
    settings: Make,
) -> None:
    asked = settings(*TWO_PHASES)
    first, again = train_plan(resolve(asked), None), train_plan(resolve(asked), None)
    assert "another trial" in again.start
    assert "another trial" not in first.start
    assert again.history == first.history
    assert np.array_equal(again.logits[Split.SELECT], first.logits[Split.SELECT])


def test_workers_that_read_ahead_change_nothing(settings: Make) -> None:
    """A run that goes on begins with the order of its own epoch, however early that is read."""
    for more in (("train.augment=live",), ()):
        asked = (*TWO_PHASES, *more, "train.num_workers=2")
        first, again = (
            train_plan(resolve(settings(*asked)), None),
            train_plan(resolve(settings(*asked)), None),
        )
        assert "another trial" in again.start
        assert again.history == first.history


def test_only_the_views_that_are_trained_on_are_computed(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = settings(*TWO_PHASES, "plan.freeze=3", "train.augment=views", "train.views=5")
    train_plan(resolve(asked), None)
    passed = []
    whole = activations.run_pass
    monkeypatch.setattr(activations, "run_pass", lambda *a: (passed.append(a[1]), whole(*a)))
    other = settings(
        *TWO_PHASES, "plan.freeze=2", "train.augment=views", "train.views=5"
    )  # fmt: skip
    train_plan(resolve(other), None)
    assert {a.variant.view for a in passed if a.variant != activations.USUAL} <= {3, 4, 5}


def test_a_phase_that_differs_in_anything_is_not_taken(settings: Make) -> None:
    def digest(*overrides: str) -> str:
        return FirstPhase(resolve(settings(*TWO_PHASES, *overrides))).key.digest

    same = digest()
    for nothing in ("train.lr_ratio=0.3", "train.probe_penalty=1", "plan.freeze=3", "study=b"):
        assert digest(nothing) == same, nothing
    changes = [
        "plan.keep=3", "plan.regrow=5", "plan.weights=random", "seed=1", "train.lr=0.02",
        "train.epochs=7", "train.lr_schedule=constant", "train.batch_size=32",
        "train.head=mlp", "train.weight_decay=0.2",
        "train.optimizer=sgd train.weight_decay=0.1", "train.pool=1",
        "train.augment=live", "train.augment=views",
        "fold=1", "fold=null", "schedule.epochs=3", "schedule.until=plateau",
        "schedule.rates=phase",
        "target.fit_size=61", "target.split_seed=1",
        "source.image_size=40", "train.precision=bf16-mixed",
    ]  # fmt: skip
    found = {digest(*change.split()) for change in changes}
    assert same not in found
    assert len(found) == len(changes)


def test_a_phase_that_no_other_follows_is_not_kept(settings: Make) -> None:
    asked = settings(*TWO_PHASES, "schedule.epochs=5")
    assert "another trial" not in train_plan(resolve(asked), None).start
    assert "another trial" not in train_plan(resolve(asked), None).start


def test_a_full_folder_for_temporary_files_costs_the_phase_and_not_the_trial(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    asked = settings(*TWO_PHASES)
    with monkeypatch.context() as patch:
        patch.setattr("tlsweep.train.stage.tempfile.mkdtemp", full)
        with pytest.warns(RuntimeWarning, match="first phase is not kept: .*No space left"):
            alone = train_plan(resolve(asked), None)
    assert "another trial" not in train_plan(resolve(asked), None).start  # now it is kept
    with monkeypatch.context() as patch:
        patch.setattr("tlsweep.trial.first_phase.tempfile.mkdtemp", full)
        with pytest.warns(RuntimeWarning, match="first phase is not kept"):
            again = train_plan(resolve(asked), None)
    assert "another trial" not in again.start
    assert again.history == alone.history


def test_a_trial_that_is_stopped_in_its_first_phase_leaves_none(settings: Make) -> None:
    asked = settings(*TWO_PHASES)
    train_plan(resolve(asked), lambda epoch, metrics, least: True)
    assert "another trial" not in train_plan(resolve(asked), None).start


def test_a_stop_that_the_shared_phase_would_have_met_stops_before_training(settings: Make) -> None:
    asked = settings(*TWO_PHASES)
    train_plan(resolve(asked), None)
    for last in (0, 1):
        told = []

        def stop(
            epoch: int,
            metrics: dict[str, float],
            least: int,
            told: list[int] = told,
            at: int = last,
        ) -> bool:
            told.append(epoch)
            return epoch == at

        stopped = train_plan(resolve(asked), stop)
        assert stopped.stopped
        assert told == list(range(last + 1))
        assert len(stopped.history) == last + 1
