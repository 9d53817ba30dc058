"""What a trial that is wanted by name takes of the command line."""

from __future__ import annotations

from tlsweep.stages.first_trials import inherited


def test_a_trial_that_names_its_plan_takes_no_plan_of_the_command_line() -> None:
    plain = ["plan.keep=layer3", "+plan.x=1", "plan=finetune", "train.lr=1"]
    assert inherited(plain, ["plan=scratch"]) == ["train.lr=1"]
    assert inherited(plain, ["train.lr=2"]) == plain
