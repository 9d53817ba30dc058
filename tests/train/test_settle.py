"""A training ends when its own loss has settled, by a rule that looks at nothing else."""

from __future__ import annotations

import pytest
import torch
from conftest_train import CLASSES, Pairs, feed, network, settings
from hypothesis import given
from hypothesis import strategies as st

from tlsweep.plan import monotone
from tlsweep.schedule.base import Ending
from tlsweep.schedule.constant import constant
from tlsweep.schedule.gradual import gradual
from tlsweep.train.fit import fit
from tlsweep.train.settle import Course, course, has_settled, least_epochs

LOSSES = st.lists(st.floats(0, 9), max_size=40)
PLAN = monotone(0, 3, 3, 3)


@given(LOSSES, st.integers(0, 5), st.integers(1, 40), st.booleans())
def test_no_course_is_longer_than_its_epochs_and_each_ends_with_a_falling_rate(
    losses: list[float], waited: int, most: int, anew: bool
) -> None:
    found = course(losses, waited, most, anew=anew)
    assert 0 <= found.held < found.epochs <= most


@given(LOSSES, st.lists(st.floats(0, 9)), st.integers(0, 5), st.integers(1, 40), st.booleans())
def test_later_epochs_change_nothing_of_a_course_that_has_begun_to_end(
    losses: list[float], later: list[float], waited: int, most: int, anew: bool
) -> None:
    """Else a run that is taken up again would end elsewhere."""
    found = course(losses, waited, most, anew=anew)
    if found.settled and found.held <= waited + len(losses) < found.epochs:
        assert course([*losses, *later], waited, most, anew=anew) == found


def test_a_loss_that_stands_still_has_settled_and_one_that_falls_has_not() -> None:
    assert has_settled([0.9] + [0.5] * 6)
    assert not has_settled([0.5] * 5)  # two windows are compared
    assert not has_settled([1.0, 0.9, 0.8, 0.7, 0.6, 0.5])
    assert has_settled([1.0, 0.98, 0.96, 0.9, 0.85, 0.8])  # less than a fifth was gained


def test_a_bump_is_no_rest() -> None:
    # the digits from scratch: 91.7 % where training ended with the bump, 94.6 % far beyond it
    losses = [1.512, 0.416, 0.114, 0.03, 0.052, 0.122, 0.171, 0.102, 0.055, 0.027, 0.013, 0.005]
    assert not any(has_settled(losses[:n]) for n in range(1, len(losses)))
    assert has_settled(losses)


def test_a_loss_that_is_next_to_nothing_has_settled_at_once() -> None:
    assert has_settled([0.009])
    assert not has_settled([0.011])


def test_the_rate_falls_for_as_many_epochs_as_it_was_held() -> None:
    flat = [0.5] * 6
    assert course(flat, 0, 30) == Course(6, 12, settled=True)
    assert course(flat, 3, 30) == Course(9, 18, settled=True)
    assert course([], 0, 12) == Course(6, 12, settled=False)
    assert course(flat, 0, 30, early=False) == Course(15, 30, settled=True)
    assert course(flat[:5], 0, 30, early=False) == Course(15, 30, settled=False)


def test_a_rate_that_begins_anew_with_the_last_phase_falls_for_as_many_epochs_as_that_held_it() -> (
    None
):
    flat = [0.5] * 6
    assert course(flat, 3, 30, anew=True) == Course(9, 15, settled=True)
    assert course([], 3, 13, anew=True) == Course(8, 13, settled=False)
    assert course(flat, 0, 30, anew=True) == course(flat, 0, 30)
    assert least_epochs([1.0], 3, 30, anew=True) == 3 + 4


def test_a_loss_that_ends_at_next_to_nothing_has_settled_though_the_epochs_ended_it() -> None:
    assert course([1.0, 0.5, 0.1, 0.001], 0, 4) == Course(2, 4, settled=True)
    assert course([1.0, 0.5, 0.1, 0.1], 0, 4) == Course(2, 4, settled=False)


@pytest.mark.parametrize(
    ("losses", "waited", "early", "least"),
    [
        ([], 0, True, 2),
        ([1.0], 0, True, 4),
        ([1.0], 3, True, 10),  # the epochs of an earlier phase count
        ([0.5] * 6, 0, True, 12),  # settled
        ([1.0 / 2**n for n in range(16)], 0, True, 16),  # next to nothing from the eighth on
        ([2.0**n for n in range(16)], 0, True, 30),
        ([1.0], 0, False, 30),
    ],
)
def test_a_training_takes_at_least_what_it_would_if_its_loss_settled_next(
    losses: list[float], waited: int, early: bool, least: int
) -> None:
    assert least_epochs(losses, waited, 30, early) == least
    assert least <= course(losses, waited, 30, early).epochs


# ---------------------------------------------------------------------- in training
def test_a_training_that_settles_ends_there_and_says_so(images: Pairs) -> None:
    train = settings(epochs=60, lr=3e-2)
    ended = fit(
        network(dropout=0.0),
        constant(PLAN),
        feed(images),
        train,
        kept=range(0),
        seed=0,
        task=CLASSES,
    )
    losses = [epoch["fit_loss"] for epoch in ended.history]
    assert ended.settled
    assert len(losses) == course(losses, 0, 60).epochs < 60


def test_a_training_whose_epochs_are_too_few_says_so(images: Pairs) -> None:
    train = settings(epochs=3, lr=1e-3)
    ended = fit(network(), constant(PLAN), feed(images), train, kept=range(0), seed=0, task=CLASSES)
    assert not ended.settled
    assert len(ended.history) == 3


def test_a_phase_that_is_not_the_last_does_not_end_training(images: Pairs) -> None:
    """A rate of nearly nothing: each phase's loss stands still from its first epoch on."""
    schedule = gradual(PLAN, Ending("epochs", 7))
    train = settings(epochs=60, lr=1e-9, weight_decay=0.0)
    ended = fit(
        network(dropout=0.0), schedule, feed(images), train, kept=range(3), seed=0, task=CLASSES
    )
    frozen = [epoch["frozen_blocks"] for epoch in ended.history]
    assert frozen[:22] == [3.0] * 7 + [2.0] * 7 + [1.0] * 7 + [0.0]
    assert ended.settled
    assert len(ended.history) == 27 + 27


def test_a_finished_run_that_is_taken_up_again_trains_no_further(
    images: Pairs, tmp_path: object
) -> None:
    file = tmp_path / "last.ckpt"  # type: ignore[operator]
    nets = network(dropout=0.0), network(dropout=0.0)
    for net, resume in zip(nets, (False, True), strict=True):
        train = settings(epochs=60, lr=3e-2, resume=resume)
        ended = fit(
            net,
            constant(PLAN),
            feed(images),
            train,
            kept=range(0),
            seed=0,
            task=CLASSES,
            checkpoint=file,
        )
        assert len(ended.history) < 60
    for ours, theirs in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_killed_while_its_rate_falls_ends_as_if_it_had_not_been(
    images: Pairs, tmp_path: object
) -> None:
    class KilledError(Exception):
        pass

    file = tmp_path / "last.ckpt"  # type: ignore[operator]
    train = settings(epochs=60, lr=3e-2)
    whole = fit(network(), constant(PLAN), feed(images), train, kept=range(0), seed=0, task=CLASSES)

    def kill(epoch: int, metrics: dict[str, float], least: int) -> bool:
        if epoch + 2 == len(whole.history):
            raise KilledError
        return False

    with pytest.raises(KilledError):
        fit(
            network(), constant(PLAN), feed(images), train, kept=range(0), seed=0, task=CLASSES,
            on_epoch=kill, checkpoint=file,
        )  # fmt: skip
    resume = settings(epochs=60, lr=3e-2, resume=True)
    rest = fit(
        network(),
        constant(PLAN),
        feed(images),
        resume,
        kept=range(0),
        seed=0,
        task=CLASSES,
        checkpoint=file,
    )
    assert rest == whole


def test_a_stop_that_is_asked_for_after_the_last_epoch_stops_nothing(images: Pairs) -> None:
    train = settings(epochs=60, lr=3e-2)
    whole = fit(network(), constant(PLAN), feed(images), train, kept=range(0), seed=0, task=CLASSES)
    last = len(whole.history) - 1
    asked = fit(
        network(), constant(PLAN), feed(images), train, kept=range(0), seed=0, task=CLASSES,
        on_epoch=lambda epoch, metrics, least: epoch == last,
    )  # fmt: skip
    assert asked == whole
    assert not asked.stopped
