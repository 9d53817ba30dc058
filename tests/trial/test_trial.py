"""The story of one trial."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tlsweep.config.settings import Settings
from tlsweep.plan import TransferPlan, monotone
from tlsweep.trial import ends_early, resolve, train_plan


@pytest.mark.parametrize(
    ("plan", "early"),
    [
        (monotone(0, 8, 8, 8), True),  # finetune
        (monotone(6, 8, 8, 8), True),
        (monotone(3, 3, 3, 8), True),  # with another head than a linear one
        (monotone(3, 3, 3, 8, random_weights=True), True),
        (monotone(0, 0, 8, 8), False),  # scratch
        (monotone(3, 3, 8, 8), False),
        (monotone(0, 5, 6, 8), False),
        (monotone(0, 3, 3, 8, random_weights=True), False),
    ],
)
def test_a_training_of_something_fresh_takes_all_its_epochs(
    settings: Callable[..., Settings], plan: TransferPlan, early: bool
) -> None:
    assert ends_early(plan, settings().train) == early
    for asked in (True, False):
        assert ends_early(plan, settings(f"train.settle={asked}").train) == asked


def test_scratch_goes_on_where_fine_tuning_has_settled(settings: Callable[..., Settings]) -> None:
    few = ("target.fit_size=40", "train.epochs=14", "train.lr=1e-12", "train.weight_decay=0")
    epochs = {plan: len(train_plan(resolve(settings(f"plan={plan}", *few)), None).history)
              for plan in ("scratch", "finetune")}  # fmt: skip
    assert epochs == {"scratch": 14, "finetune": 12}
