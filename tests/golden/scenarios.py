"""What is run in both trees: the ways by which a number reaches a user, one of each.

Nothing in them asks the clock: without a limit of minutes a sweep trains the same plans wherever it
runs. All start from one source checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

DEVICES = ("train.devices=2", "train.strategy=ddp")
FEW = ("target.fit_size=100", "train.epochs=6")
SMALL = (*FEW, "sweep.minutes=null", "sweep.confirm.seeds=2")  # of a sweep: a grid refuses them


@dataclass(frozen=True)
class Scenario:
    """Commands that are run one after the other into one folder; each is one list of arguments."""

    name: str
    commands: Sequence[Sequence[str]]


SCENARIOS = (
    Scenario("quickstart", [("-m", "sweep.minutes=null", "sweep.n_trials=6")]),
    Scenario(
        "a sweep that was taken up again",
        [
            ("-m", *SMALL, "sweep.n_trials=2", "sweep.confirm.top=1"),
            ("-m", *SMALL, "sweep.n_trials=4", "sweep.confirm.top=2"),
        ],
    ),
    Scenario(
        "two phases, with the activation store and without it",
        [
            ("-m", "study=stored", *FEW, "plan=last_layers", "plan.freeze=block3,block5",
             "schedule=two_phase", "schedule.epochs=2"),
            ("-m", "study=computed", *FEW, "plan=last_layers", "plan.freeze=block3,block5",
             "schedule=two_phase", "schedule.epochs=2", "features.budget_gb=0"),
        ],
    ),
    Scenario(
        "gradual, with views, a second head and its own BatchNorm statistics",
        [
            ("-m", *FEW, "plan=transfer_tuned", "plan.keep=block3,block5", "train.augment=views",
             "train.head=mlp", "train.batch_norm=batch", "schedule=gradual", "schedule.epochs=1"),
        ],
    ),
    Scenario(
        "two devices",
        [
            ("plan=truncate_tuned", "plan.keep=block3", "train.epochs=4", *DEVICES),
            ("-m", *SMALL, "sweep.stages=[survey]", *DEVICES),
        ],
    ),
)  # fmt: skip
