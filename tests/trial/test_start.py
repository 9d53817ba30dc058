"""A trial starts from the highest activations worth storing, goes down as it thaws, and says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.extract import activations
from tlsweep.terms import Split
from tlsweep.trial import check_schedule, question_of, resolve, run, train_plan
from tlsweep.trial.start import Starts

Make = Callable[..., Settings]


def starts(asked: Settings) -> Starts:
    trial = resolve(asked)
    return Starts(trial, trial.freezing)


def test_it_goes_down_to_the_store_of_each_phase_and_to_images_at_last(settings: Make) -> None:
    asked = settings("plan=truncate_tuned", "plan.keep=4", "schedule=gradual", "train.epochs=6")
    asked = asked.model_copy(update={"stage": "search"})
    feed = starts(asked)
    entries = [feed(frozen, epoch).entry for epoch, frozen in enumerate((4, 3, 2, 1, 0, 0))]
    assert entries[0] == 4  # only a head trains: pooled
    assert entries[-2:] == [0, 0]
    assert all(entry <= frozen for entry, frozen in zip(entries, (4, 3, 2, 1, 0, 0), strict=True))
    assert entries[1] > 0
    assert feed.why.startswith("only a head trains: from pooled features; then from ")
    assert feed.why.endswith("the first block is trained: from images")


def test_what_one_trial_alone_reads_once_is_not_stored(settings: Make, tmp_path: Path) -> None:
    asked = settings("plan=last_layers", "plan.freeze=0", "schedule=gradual")
    feed = starts(asked)
    top = feed.plan.keep
    assert feed(top - 1, 1).entry == 0
    assert "reads nothing twice" in feed.why


def test_a_trial_says_where_each_of_its_phases_started(settings: Make) -> None:
    asked = settings("plan=last_layers", "plan.freeze=2", "schedule=two_phase", "train.epochs=5")
    assert "; then from " in train_plan(resolve(asked), None).start


def test_settings_that_a_head_at_its_optimum_does_not_look_at_are_told(settings: Make) -> None:
    plan = ("plan=truncate", "plan.keep=3")
    assert "effect" not in train_plan(resolve(settings(*plan)), None).start
    both = train_plan(resolve(settings(*plan, "schedule=gradual", "train.augment=live")), None)
    assert both.start.endswith(
        "; schedule=gradual and train.augment=live without effect: all blocks are frozen, and"
        " there are no epochs"
    )


def test_a_phase_that_no_epoch_is_left_for_is_not_begun_and_the_trial_says_so(
    settings: Make,
) -> None:
    plan = ("plan=truncate_tuned", "plan.keep=3", "schedule=gradual")
    trained = train_plan(resolve(settings(*plan, "train.epochs=2")), None)
    assert [epoch["frozen_blocks"] for epoch in trained.history] == [3, 2]
    assert trained.start.count("; then") == 1
    assert "ended in phase 2 of 3: conv1..maxpool never thawed" in trained.start
    whole = train_plan(resolve(settings(*plan, "train.epochs=4")), None)
    assert whole.history[-1]["frozen_blocks"] == 0
    assert "ended in phase" not in whole.start


def test_a_schedule_whose_first_phase_takes_all_epochs_is_refused_where_another_would_follow(
    settings: Make,
) -> None:
    def checked(*overrides: str) -> None:
        check_schedule(resolve(settings("schedule=two_phase", *overrides)))

    with pytest.raises(Refusal) as caught:
        checked("plan=truncate_tuned", "plan.keep=3", "train.epochs=3")
    (fault,) = caught.value.faults
    assert fault.value == "schedule=two_phase schedule.epochs=3 train.epochs=3"
    assert fault.mend == "train.epochs=4 or more, or schedule.epochs=2 or less"
    checked("plan=truncate_tuned", "plan.keep=3", "train.epochs=4")
    checked("plan=truncate_tuned", "plan.keep=3", "train.epochs=3", "schedule.until=plateau")
    checked("plan=truncate", "plan.keep=3", "train.epochs=3")  # nothing thaws
    checked("plan=scratch", "train.epochs=3")  # nothing is frozen


def test_an_earlier_cut_point_is_stored_where_the_boundary_takes_too_much_room(
    settings: Make,
) -> None:
    plan = "plan=last_layers"
    question = question_of(settings(plan, "plan.freeze=1"))
    costs, part = question.costs, question.partition
    size = [cost.activation_bytes for cost in costs]
    freeze = next(i for i in range(2, len(size) - 1) if size[i] > 1.5 * size[i - 1])
    n = len(part.pool)
    budget = 1.2 * size[freeze - 1] * n / 2**30
    feed = starts(settings(plan, f"plan.freeze={freeze}", f"features.budget_gb={budget}"))
    assert feed(freeze, 0).entry == freeze - 1
    assert re.match(rf"from {question.cuts[freeze - 1].name}, stored .*, \d+% of the f", feed.why)


def test_a_full_budget_leaves_a_trial_to_its_images(settings: Make) -> None:
    feed = starts(settings("plan=last_layers", "plan.freeze=3", "features.budget_gb=0.00001"))
    assert feed(3, 0).entry == 0
    assert "no room" in feed.why or "could not" in feed.why


def test_one_phases_data_makes_room_for_the_next_ones(settings: Make) -> None:
    plan = ("plan=last_layers", "plan.freeze=2", "schedule=two_phase", "train.epochs=5")
    question = question_of(settings(*plan))
    costs, part = question.costs, question.partition
    wanted = costs[2].activation_bytes * len(part.pool)
    feed = starts(settings(*plan, f"features.budget_gb={1.05 * wanted / 2**30}"))
    assert feed(feed.plan.keep, 0).entry > 0
    assert feed(2, 3).entry == 2, feed.why


def test_what_is_stored_already_needs_no_more_room(settings: Make) -> None:
    plan = ("plan=last_layers", "plan.freeze=2")
    question = question_of(settings(*plan))
    costs, part = question.costs, question.partition
    wanted = costs[2].activation_bytes * len(part.pool)
    lines = (*plan, f"features.budget_gb={1.05 * wanted / 2**30}")
    first, second = starts(settings(*lines)), starts(settings(*lines))
    assert first(2, 0).entry == second(2, 0).entry == 2


def test_a_trial_that_ended_holds_no_room(settings: Make) -> None:
    asked = settings("plan=last_layers", "plan.freeze=2")
    train_plan(resolve(asked), None)
    assert not any(entry.in_use for entry in activations.store_of(asked.features).entries())


@pytest.mark.parametrize("plan", [("plan=last_layers", "plan.freeze=3"), ("plan=finetune",)])
def test_live_augmentation_starts_from_images(settings: Make, plan: tuple[str, ...]) -> None:
    feed = starts(settings(*plan, "train.augment=live"))
    frozen = min(feed.schedule.thawed[0], default=feed.plan.regrow)
    first, second = feed(frozen, 0), feed(frozen, 1)
    assert first.entry == second.entry == 0
    assert not first.fit[0][0].equal(second.fit[0][0])
    assert first.select[0][0].equal(second.select[0][0])


def test_stored_views_come_round_in_turn(settings: Make) -> None:
    asked = settings("plan=last_layers", "plan.freeze=3", "train.augment=views", "train.views=2")
    feed = starts(asked)
    shown = [feed(3, epoch).fit[0][0].clone() for epoch in range(4)]
    assert feed.entry(3) > 0
    assert shown[0].equal(shown[2])
    assert shown[1].equal(shown[3])
    assert not shown[0].equal(shown[1])


def test_what_is_scored_is_what_the_fold_holds_out_and_in_the_final_stage_the_report(
    settings: Make,
) -> None:
    plan = ("plan=truncate", "plan.keep=3")
    question = question_of(settings())
    for fold in (0, 4):
        (scored,) = train_plan(resolve(settings(*plan, f"fold={fold}")), None).logits.items()
        assert scored[0] == Split.SELECT
        assert len(scored[1]) == len(question.partition.folds[fold])
    final = train_plan(resolve(settings(*plan, "fold=null", "stage=final")), None)
    assert {s: len(z) for s, z in final.logits.items()} == {
        Split.REPORT: len(question.partition.report)
    }
    assert "select_accuracy" not in final.history[-1]
    assert train_plan(resolve(settings(*plan, "fold=null")), None).logits == {}


@pytest.mark.parametrize("fold", [5, 7])
def test_a_fold_that_there_is_not_is_refused_before_training(settings: Make, fold: int) -> None:
    with pytest.raises(Refusal) as caught:
        run(settings(f"fold={fold}", "record=none"))
    (fault,) = caught.value.faults
    assert fault.value == f"fold={fold}"
    assert fault.rule == "the pool has 5 folds, counted from 0"
    assert fault.mend == f"fold=4 or less, or target.folds={fold + 1}"
