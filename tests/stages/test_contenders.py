"""Which plans a verdict compares, under which names, and which of them may win."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import optuna
import pytest

from tlsweep.config.sections import ConfirmSettings
from tlsweep.config.settings import Settings
from tlsweep.facts import Facts
from tlsweep.stages.contenders import (
    Contender,
    frozen,
    frozen_settings,
    identity,
    lag_of,
    merged,
    overrides_of,
    trained,
)
from tlsweep.stages.sources import only
from tlsweep.survey.rows import Frozen
from tlsweep.task.outcome import Outcome
from tlsweep.trial import question_of

Make = Callable[..., Settings]
MakeFacts = Callable[..., Facts]
CONTROLS = ("scratch", "finetune", "raw_pixels", "feature_extractor", "random_features")


def chosen(top: int = 2, controls: tuple[str, ...] = CONTROLS) -> ConfirmSettings:
    return ConfirmSettings(
        top=top, seeds=2, splits=0, controls=controls, margin=2.0, confidence=0.95
    )


def trial(
    facts: Facts,
    score: float,
    *,
    loss: float = 1.0,
    lr: float = 0.01,
    seconds: float = 3.5,
) -> optuna.trial.FrozenTrial:
    noted = {
        "facts": facts.as_json(),
        "overrides": [f"plan={facts.name}", f"plan.keep={facts.plan.keep}", f"train.lr={lr}"],
        "losses": {"select": loss},
        "variance": score * (1 - score),
        "seconds": seconds,
    }
    return optuna.trial.create_trial(value=score, user_attrs=noted)


def labels(contenders: list[Contender]) -> list[str]:
    return [c.label for c in contenders]


@pytest.mark.parametrize(
    ("score", "seconds", "stands"),
    [
        (0.88, 20.0, True),  # one image of 50, and much quicker
        (0.88, 30.0, False),
        (0.86, 20.0, False),  # two images
        (0.90, 20.0, True),
    ],
)
def test_one_image_is_no_evidence_for_a_setting_that_takes_twice_the_time(
    facts: MakeFacts, score: float, seconds: float, stands: bool
) -> None:
    same = facts("finetune", keep=8, freeze=0)
    trials = [trial(same, 0.90, lr=0.1, seconds=57.0), trial(same, score, lr=0.2, seconds=seconds)]
    (found,) = trained(trials, chosen(), 50)
    assert (found.seconds == seconds) == stands


# ------------------------------------------------------------------ far behind
@pytest.mark.parametrize(
    ("own", "images", "far", "for_any_seed"),
    [
        (0.80, 50, False, False),  # 16 points, with an error of 6
        (0.72, 50, True, False),  # 24 points, which a bad seed may have widened
        (0.60, 50, True, True),
        (0.88, 800, True, False),  # certain, and small
        (0.70, 800, True, True),
    ],
)
def test_a_control_is_far_behind_where_images_and_then_seeds_cannot_have_done_it(
    facts: MakeFacts, own: float, images: int, far: bool, for_any_seed: bool
) -> None:
    mine = [trial(facts("scratch", keep=0, regrow=8), score) for score in (own, own - 0.1)]
    trials = [*mine, trial(facts("finetune", keep=8, freeze=0), 0.96)]
    lag = lag_of(mine, trials, images)
    assert (lag.best, lag.own) == (0.96, own)
    assert (lag.is_far, lag.is_far_for_any_seed) == (far, for_any_seed)


# ------------------------------------------------------------------ trained
def test_the_best_plans_and_the_controls_are_confirmed(facts: MakeFacts) -> None:
    trials = [
        trial(facts("truncate_tuned", keep=2, freeze=0), 0.80),
        trial(facts("truncate_tuned", keep=4, freeze=0), 0.90),
        trial(facts("truncate_tuned", keep=6, freeze=0), 0.85),
        trial(facts("scratch", keep=0, regrow=8), 0.50),
        trial(facts("finetune", keep=8, freeze=0), 0.95),
    ]
    found = trained(trials, chosen(top=2), 100)
    # finetune is best, and is there as a control in any case: it takes no other plan's place
    assert labels(found) == [
        "truncate_tuned up to block4", "truncate_tuned up to block6",
        "finetune up to block8", "scratch up to block0",
    ]  # fmt: skip
    assert [c.controls for c in found] == [(), (), ("finetune",), ("scratch",)]
    assert [c.candidate for c in found] == [True, True, True, False]
    assert all(c.seconds == 3.5 and c.outcome is None for c in found)


def test_a_plan_that_never_thawed_is_compared_as_what_it_was(facts: MakeFacts) -> None:
    """Not as the control finetune, and as one plan with one that was to be that."""
    late = replace(facts("finetune", keep=8, freeze=5), not_thawed=(0, 1, 2, 3, 4))
    same = facts("last_layers", keep=8, freeze=5)
    assert identity(late, ()) == identity(same, ())
    (found,) = trained([trial(late, 0.9), trial(same, 0.8)], chosen(), 100)
    assert found.controls == ()
    assert found.label == "finetune up to block8, never thawed block1..block5"
    asked = facts("finetune", keep=8, freeze=0)
    assert [c.controls for c in trained([trial(late, 0.9), trial(asked, 0.8)], chosen(), 100)] == [
        (), ("finetune",)
    ]  # fmt: skip


def test_of_a_plan_the_setting_that_scored_best_is_taken_and_of_equals_the_lower_loss(
    facts: MakeFacts,
) -> None:
    plan = facts("finetune", keep=8, freeze=0)
    trials = [
        trial(plan, 0.90, lr=0.1),
        trial(plan, 0.95, loss=0.8, lr=0.2),
        trial(plan, 0.95, loss=0.3, lr=0.3),
        trial(plan, 0.10, loss=0.1, lr=0.4),
    ]
    (found,) = trained(trials, chosen(), 100)
    assert found.overrides[-1] == "train.lr=0.3"


def test_a_plan_is_known_by_its_blocks_and_not_by_its_name(facts: MakeFacts) -> None:
    by_name = facts("finetune", keep=8, freeze=0)
    same = facts("truncate_tuned", keep=8, freeze=0)
    assert identity(by_name, ()) == identity(same, ())
    (found,) = trained([trial(same, 0.9), trial(by_name, 0.8)], chosen(), 100)
    assert found.controls == ("finetune",)
    others = [
        facts("truncate_tuned", keep=7, freeze=0), facts("last_layers", keep=8, freeze=1),
        facts("transfer_tuned", keep=7, freeze=0, regrow=8), facts(keep=8, head="mlp"),
        facts(keep=8, random=True), facts("surgical", shape="TTTFFFFF"),
        facts("adapters", shape="AAAAAAAA"), facts("finetune", shape="TTDTTTTT"),
    ]  # fmt: skip
    assert len({identity(f, ()) for f in [by_name, *others]}) == 1 + len(others)


def test_a_plan_of_regions_is_no_control_though_it_keeps_all_and_begins_to_train_at_the_input(
    facts: MakeFacts,
) -> None:
    trials = [
        trial(facts("adapters", shape="AAAAAAAA"), 0.9),
        trial(facts("surgical", shape="TTFFFFFF"), 0.8),
        trial(facts("finetune", shape="TTDTTTTT"), 0.7),
    ]
    found = trained(trials, chosen(top=3), 100)
    assert [(c.controls, c.candidate) for c in found] == [((), True)] * 3
    assert labels(found) == [
        "adapters up to block8, adapted block1..block8",
        "surgical up to block8, tuned block1..block2",
        "finetune up to block8, tuned block1..block2, block4..block8, dropped block3",
    ]


def test_controls_that_are_not_asked_for_compete_as_plans_and_scratch_never_wins(
    facts: MakeFacts,
) -> None:
    trials = [
        trial(facts("finetune", keep=8, freeze=0), 0.95),
        trial(facts("scratch", keep=0, regrow=8), 0.97),
    ]
    found = trained(trials, chosen(top=2, controls=("random_features",)), 100)
    assert [c.controls for c in found] == [(), ()]
    assert {c.facts.name: c.candidate for c in found} == {"finetune": True, "scratch": False}


def test_what_keeps_nothing_takes_the_place_of_no_plan_that_may_win(facts: MakeFacts) -> None:
    """Else a search whose best trained plan keeps the input alone ends without an answer."""
    nothing = facts("truncate_tuned", keep=0, freeze=0, regrow=0)
    trials = [
        trial(nothing, 0.97),
        trial(facts("truncate_tuned", keep=4, freeze=0), 0.60),
        trial(facts("truncate_tuned", keep=6, freeze=0), 0.50),
    ]
    found = trained(trials, chosen(top=1, controls=("scratch",)), 100)
    assert [(c.label, c.candidate) for c in found] == [
        ("truncate_tuned up to block0", False),
        ("truncate_tuned up to block4", True),
    ]


def test_blocks_with_random_weights_are_a_control_whatever_is_trained_above(
    facts: MakeFacts,
) -> None:
    (found,) = trained(
        [trial(facts("transfer", keep=3, regrow=8, random=True), 0.99)], chosen(), 100
    )
    assert found.controls == ("random_features",)
    assert not found.candidate


def test_without_trials_there_is_nothing_to_confirm() -> None:
    assert trained([], chosen(), 100) == []


# ------------------------------------------------------------------ frozen
@pytest.fixture
def surveyed(settings: Make) -> list[Contender]:
    asked = settings()
    question = question_of(asked)
    points = {
        (weights, i): Frozen(name, i, weights, "logistic", 0.1 * (1 + i), 0.5, 1.0, False)
        for weights in ("source", "random")
        for i, name in enumerate(question.cuts.names)
    }
    outcomes = {place: Outcome({0: np.full((12, 10), place[1])}) for place in points}
    return frozen(only(asked, question), points, outcomes, random_cut=2)


def test_every_cut_point_is_a_contender_and_those_that_keep_something_may_win(
    surveyed: list[Contender],
) -> None:
    source, random = surveyed[:-1], surveyed[-1]
    last = len(source) - 1
    assert [c.facts.plan.keep for c in source] == list(range(last + 1))
    assert [c.candidate for c in surveyed] == [False, *[True] * last, False]
    names = {i: c.controls for i, c in enumerate(source) if c.controls}
    assert names == {0: ("raw_pixels",), last: ("feature_extractor",)}
    assert (random.controls, random.facts.plan.keep) == (("random_features",), 2)
    assert all(c.outcome is not None and c.outcome.held_out[0][0, 0] == c.facts.plan.keep
               for c in surveyed)  # fmt: skip
    assert all(c.facts.is_deterministic for c in source)
    assert not random.facts.is_deterministic


def test_what_is_written_for_a_frozen_plan_is_that_plan_with_its_penalty(
    surveyed: list[Contender], settings: Make
) -> None:
    for contender in (surveyed[3], surveyed[-1]):
        asked = settings(*contender.overrides)
        question = question_of(asked)
        plan = question.plan(asked.plan)
        assert (plan.states, plan.random_weights) == (
            contender.facts.plan.states, contender.facts.plan.random_weights,
        )  # fmt: skip
        point = Frozen(
            contender.facts.keep_name,
            plan.keep,
            "random" if plan.random_weights else "source",
            "logistic",
            asked.train.probe_penalty,
            0.5,
            1.0,
            False,
        )
        told = {"stage": asked.stage, "study": asked.study}
        own = frozen_settings(only(settings(), question), point).model_copy(update=told)
        assert own == asked
        assert asked.train.head == "linear"
        assert (
            asked.train.probe_penalty
            == contender.facts.probe_penalty
            == pytest.approx(0.1 * (1 + plan.keep))
        )


def test_without_random_weights_there_is_no_such_control(settings: Make) -> None:
    asked = settings()
    question = question_of(asked)
    point = Frozen(question.cuts.names[1], 1, "source", "logistic", 0.1, 0.5, 1.0, False)
    here = {("source", 1): point}, {("source", 1): Outcome()}
    (found,) = frozen(only(asked, question), *here, None)
    assert found.overrides == overrides_of(point)


def test_a_plan_of_both_lists_counts_as_the_first_one_knows_it(facts: MakeFacts) -> None:
    surveyed = Contender(facts(keep=3), ("plan=truncate",), outcome=Outcome())
    again = Contender(facts(keep=3), ("plan=truncate", "train.lr=1"), seconds=2.0)
    other = Contender(facts("finetune", keep=8, freeze=0), ("plan=finetune",))
    found = merged([surveyed], [again, other])
    assert len(found) == 2
    assert {id(c) for c in found} == {id(surveyed), id(other)}
