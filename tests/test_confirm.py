"""What was to be confirmed and was not is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from tlsweep.config import Settings, read
from tlsweep.confirm import Plan, replicates, shortfalls
from tlsweep.study import choice
from tlsweep.study.ledger import Ended, Job, Ledger
from tlsweep.study.storage import default_url

CONF = (Path(__file__).parent / ".." / "conf").resolve()
BEST = Plan({}, ("plan=truncate", "plan.keep=block3"))
FINETUNE = Plan({}, ("plan=finetune",), controls=("finetune", "feature_extractor"))


@pytest.fixture
def settings() -> Settings:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        chosen = "sweep.confirm.controls=[finetune,feature_extractor]"
        return read(compose("config", overrides=["sweep.confirm.seeds=3", chosen]))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    sampler = choice.sampler({"name": "random"}, 0)
    return Ledger(default_url(tmp_path), "s.confirm", sampler).open(resume=True)


def launch(jobs: Sequence[Job]) -> list[Ended]:
    broken = ("plan=finetune", "seed=2")
    failed = Ended(error=OSError("disk full"))
    return [failed if set(broken) <= set(job.overrides) else Ended(0.9) for job in jobs]


def test_nothing_is_said_of_a_sweep_that_measured_all(settings: Settings, ledger: Ledger) -> None:
    plans = [Plan({}, BEST.overrides, controls=("finetune", "feature_extractor"))]
    ledger.run_list(replicates(plans, settings), launch, n_jobs=1)
    assert shortfalls(plans, ledger, settings) == []


def test_failed_replicates_are_counted_with_their_reason(
    settings: Settings, ledger: Ledger
) -> None:
    plans = [BEST, FINETUNE]
    ledger.run_list(replicates(plans, settings), launch, n_jobs=1)
    assert shortfalls(plans, ledger, settings) == [
        "finetune and feature extractor: 1 of 3 replicates failed: OSError: disk full"
    ]


def test_a_control_that_has_no_plan_is_named(settings: Settings, ledger: Ledger) -> None:
    ledger.run_list(replicates([BEST], settings), launch, n_jobs=1)
    assert shortfalls([BEST], ledger, settings) == [
        "finetune: the search finished no plan to compare it with",
        "feature extractor: the search finished no plan to compare it with",
    ]
