"""A verdict says of which plans a thaw never came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest

from tlsweep.facts import Facts
from tlsweep.stages.contenders import Contender
from tlsweep.stages.thaws import never_thawed, otherwise
from tlsweep.verdict import what_to_keep

MakeFacts = Callable[..., Facts]


class Held:
    """A ledger that holds just these trials."""

    def __init__(self, *trials: Any) -> None:
        self.trials = [*trials]

    def completed(self) -> list[Any]:
        return self.trials


def trial(facts: Facts, *more: str) -> Any:
    noted = {"facts": facts.as_json(), "overrides": [f"plan={facts.name}", *more]}
    return optuna.trial.create_trial(value=0.5, user_attrs=noted)


@pytest.fixture
def whole(facts: MakeFacts) -> Facts:
    return facts("finetune", keep=8, freeze=0)


@pytest.fixture
def late(facts: MakeFacts) -> Facts:
    return replace(facts("finetune", keep=8, freeze=3), not_thawed=(0, 1, 2))


def test_each_kind_of_plan_that_was_not_what_was_asked_has_a_sentence(
    whole: Facts, late: Facts, facts: MakeFacts
) -> None:
    other = facts("last_layers", keep=8, freeze=3)
    said = never_thawed([trial(one) for one in (whole, late, late, other)])
    assert said == [
        "finetune: 2 of 3 trainings ended before their schedule thawed block1..block3, and are"
        " compared as what they were, with these frozen"
    ]
    assert never_thawed([trial(whole), trial(other)]) == []


def test_replicates_that_ended_in_another_phase_are_said(whole: Facts, late: Facts) -> None:
    contender = Contender(whole, ("plan=finetune",), ("finetune",))
    confirm = Held(trial(whole, "fold=1"), trial(late, "fold=2"))
    final, others = Held(trial(late, "fold=null")), Held(trial(whole))
    assert otherwise([contender], confirm, final) == [  # type: ignore[arg-type]
        "one plan of finetune: 2 of its 3 replicates and final trainings ended in another phase of"
        " their schedule than in the search"
    ]
    assert otherwise([contender], others) == []  # type: ignore[arg-type]


def test_what_is_recommended_is_said_as_it_was_trained(whole: Facts, late: Facts) -> None:
    assert what_to_keep(whole) == "Keep all 8 blocks, and train them"
    assert what_to_keep(late) == (
        "Keep all 8 blocks, the first 3 frozen, the others trained (training ended before its"
        " schedule thawed block1 to block3)"
    )
