"""The story of one trial."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tlsweep.config.settings import Settings
from tlsweep.facts import Facts
from tlsweep.plan import TransferPlan, monotone
from tlsweep.terms import BlockState
from tlsweep.trial import describe, ends_early, resolve, run, run_unrecorded, train_plan


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


# ---------------------------------------------------------------------- a thaw that never came
LATE = ("plan=last_layers", "plan.freeze=stage4.1", "schedule=gradual", "record=none")
NEVER = "stage4.2..stage4.3"


def trained_states(facts: Facts) -> dict[str, str]:
    """The state of every block from stage4.1 on."""
    states = dict(zip(facts.cuts[1:], map(str, facts.plan.states), strict=True))
    return {name: states[name] for name in ("stage4.1", "stage4.2", "stage4.3", "conv5")}


def test_a_trial_is_what_it_trained_where_its_schedule_did_not_come_to_its_end(
    settings: Callable[..., Settings],
) -> None:
    frozen, tuned = "frozen", "tuned"
    for epochs, states, never in [
        (2, (frozen, frozen, frozen, tuned), NEVER),
        (3, (frozen, frozen, tuned, tuned), "stage4.2"),
        (4, (frozen, tuned, tuned, tuned), ""),
    ]:
        asked = settings(*LATE, f"train.epochs={epochs}")
        result, whole = run(asked), describe(resolve(asked))
        assert tuple(trained_states(result.facts).values()) == states
        assert result.facts.regions == ({"never thawed": never} if never else {})
        assert (f"{never} never thawed and stayed frozen (train.epochs={epochs} was too few)"
                in result.start) == bool(never)  # fmt: skip
        fewer = whole.trained_parameters - result.facts.trained_parameters
        assert (fewer > 0) == bool(never)
        again = run_unrecorded(asked)
        assert again["trained_parameters", 0] == result.facts.trained_parameters


def test_a_trial_that_was_stopped_before_it_thawed_is_what_it_trained(
    settings: Callable[..., Settings],
) -> None:
    """Also where it is stopped on the very epoch after which it would have thawed."""
    trial = resolve(settings(*LATE, "train.epochs=4", "features.budget_gb=0"))
    trained = train_plan(trial, lambda epoch, metrics, least: epoch == 1)
    assert trained.stopped
    assert "ended in phase 2 of 4: stage4.2..stage4.3 never thawed" in trained.start
    assert trained.start.endswith("(it was stopped early)")
    facts = describe(trial, trained.not_thawed)
    assert facts.freeze_name == "stage4.3"
    assert facts.state == BlockState.TUNED  # conv5 was


def test_a_plan_of_which_nothing_thawed_is_frozen(settings: Callable[..., Settings]) -> None:
    trial = resolve(settings(*LATE, "train.epochs=4"))
    trained = train_plan(trial, lambda epoch, metrics, least: epoch == 0)
    assert describe(trial, trained.not_thawed).state == BlockState.FROZEN
