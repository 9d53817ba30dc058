"""Phases that are written by the names of blocks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tlsweep.config.settings import Settings
from tlsweep.errors import Fault, Refusal
from tlsweep.trial import check_schedule, resolve, train_plan
from tlsweep.trial.first_phase import FirstPhase

Make = Callable[..., Settings]
SCHEDULE = ("schedule=phases", "train.epochs=4")


def thawed(made: Settings) -> list[list[str]]:
    """The blocks of each phase, by name."""
    trial = resolve(made)
    names = trial.question.cuts.names[1:]
    return [[names[i] for i in sorted(blocks)] for blocks in trial.freezing.thawed]


@pytest.mark.parametrize(
    ("plan", "phases", "found"),
    [
        (("plan=last_layers", "plan.freeze=stage4.1"), "[none,conv5,all]",
         [[], ["conv5"], ["stage4.2", "stage4.3", "conv5", "pooled"]]),
        (("plan=last_layers", "plan.freeze=stage4.1"), "[conv5,[stage4.3..conv5],all]",
         [["conv5"], ["stage4.3", "conv5"], ["stage4.2", "stage4.3", "conv5", "pooled"]]),
        (("plan=surgical", "plan.tune=[stage4.1,conv5]"), "[stage4.1,all]",
         [["stage4.1"], ["stage4.1", "conv5"]]),
        (("plan=surgical", "plan.tune=[stage4.1,conv5]"), "[all]", [["stage4.1", "conv5"]]),
        (("plan=surgical", "plan.tune=[stage4,conv5]"), "[stage4]",  # the last one is added
         [["stage4.0", "stage4.1", "stage4.2", "stage4.3"],
          ["stage4.0", "stage4.1", "stage4.2", "stage4.3", "conv5"]]),
        (("plan=last_layers", "plan.freeze=stage4.3"), "[conv5]", [["conv5", "pooled"]]),
        (("plan=truncate",), "[none,conv5,all]", [[]]),  # nothing to thaw
    ],
)  # fmt: skip
def test_each_phase_thaws_what_it_names_and_the_last_all_that_the_plan_trains(
    settings: Make, plan: tuple[str, ...], phases: str, found: list[list[str]]
) -> None:
    assert thawed(settings(*plan, *SCHEDULE, f"schedule.phases={phases}")) == found


@pytest.mark.parametrize(
    ("phases", "fault"),
    [
        ("[none,conv6,all]", ("schedule.phases=conv6", "conv1", "schedule.phases=conv5")),
        ("[stage3.7,all]", ("schedule.phases=[stage3.7,all]: stage3.7 is not trained",
                            "stage4.2..pooled", "schedule.phases=[stage4.2,all]")),
        ("[conv5,stage4.3,all]", ("schedule.phases=[conv5,stage4.3,all]", "one more at least",
                                  "schedule.phases=[conv5,stage4.3..conv5,all]")),
        ("[conv5,conv5,all]", ("schedule.phases=[conv5,conv5,all]", "one more at least",
                               "schedule.phases=[conv5,all]")),
    ],
)  # fmt: skip
def test_phases_that_cannot_be_are_refused_with_the_nearest(
    settings: Make, phases: str, fault: tuple[str, str, str]
) -> None:
    plan = ("plan=last_layers", "plan.freeze=stage4.1")
    with pytest.raises(Refusal) as caught:
        resolve(settings(*plan, *SCHEDULE, f"schedule.phases={phases}"))
    (found,) = caught.value.faults
    assert found.value == fault[0]
    assert fault[1] in found.rule
    assert found.mend == fault[2]
    mended = [found.mend] if found.mend.startswith("schedule.phases=[") else []
    for line in mended:
        assert resolve(settings(*plan, *SCHEDULE, line)).freezing.thawed


def test_a_value_that_is_no_list_of_phases_is_refused_with_one_that_is(settings: Make) -> None:
    for wrong in ("conv5", "[]", "[null,all]"):
        with pytest.raises(Refusal) as caught:
            settings(*SCHEDULE, f"schedule.phases={wrong}")
        assert caught.value.faults[0].mend == "schedule.phases=[none,BLOCK..BLOCK,all]"
    with pytest.raises(Refusal) as caught:
        settings(*SCHEDULE)
    assert caught.value.faults == (
        Fault("schedule.phases is not set", "this value has no default", "schedule.phases=VALUE"),
    )


def test_a_last_phase_that_was_added_is_said(settings: Make) -> None:
    plan = ("plan=last_layers", "plan.freeze=stage4.2", *SCHEDULE)
    added = train_plan(resolve(settings(*plan, "schedule.phases=[none,conv5]")), None)
    whole = train_plan(resolve(settings(*plan, "schedule.phases=[none,conv5,all]")), None)
    assert added.start.endswith("; a last phase was added, which thaws [stage4.3,pooled]")
    assert "added" not in whole.start
    assert added.history == whole.history


def test_a_first_phase_is_shared_only_where_it_trains_new_layers_alone(settings: Make) -> None:
    plan = ("plan=last_layers", "plan.freeze=stage4.1", "schedule.epochs=1", "train.epochs=4")
    two = FirstPhase(resolve(settings(*plan, "schedule=two_phase")))
    head, kept = (
        FirstPhase(resolve(settings(*plan, "schedule=phases", f"schedule.phases={phases}")))
        for phases in ("[none,conv5,all]", "[conv5,all]")
    )
    assert two.may_be_shared
    assert head.may_be_shared
    assert head.key == two.key
    assert not kept.may_be_shared


def test_no_phase_is_spent_on_a_block_with_nothing_to_train(settings: Make) -> None:
    """A pooling; and of an adapted block one that has no layer for an addition."""
    asked = ("plan=surgical", "plan.tune=[conv5,pooled]", "train.epochs=4")
    assert thawed(settings(*asked, "schedule=gradual")) == [[], ["conv5", "pooled"]]
    listed = ("schedule=phases", "schedule.phases=[none,pooled,all]")
    assert thawed(settings(*asked, *listed)) == [[], ["conv5", "pooled"]]
    adapted = settings("plan=adapters", "plan.adapt=[conv5,pooled]", "schedule=gradual")
    assert thawed(adapted) == [[], ["conv5", "pooled"]]


def test_phases_that_leave_no_epoch_to_the_last_one_are_refused(settings: Make) -> None:
    plan = ("plan=last_layers", "plan.freeze=stage4.1", "schedule=phases", "schedule.epochs=4")
    with pytest.raises(Refusal, match="a phase ends before training does"):
        check_schedule(resolve(settings(*plan, "schedule.phases=[none,all]", "train.epochs=4")))


def test_rates_begin_anew_with_each_phase_only_where_that_is_asked_for(settings: Make) -> None:
    plan = ("plan=last_layers", "plan.freeze=stage4.1")
    for schedule in ("two_phase", "gradual"):
        asked = (*plan, f"schedule={schedule}", "train.epochs=5")
        assert not resolve(settings(*asked)).freezing.anew
        assert resolve(settings(*asked, "schedule.rates=phase")).freezing.anew


@pytest.mark.parametrize(("rates", "anew"), [("whole", False), ("phase", True)])
@pytest.mark.parametrize("name", ["two_phase", "gradual", "pairs"])
def test_every_schedule_with_phases_has_the_rates_that_are_asked_for(
    name: str, rates: str, anew: bool, settings: Make, beside: None
) -> None:
    """One of another package, too."""
    asked = settings("plan=finetune", f"schedule={name}", f"schedule.rates={rates}")
    assert resolve(asked).freezing.anew is anew
