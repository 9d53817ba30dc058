"""Samplers and pruners by name; what cannot be made is refused under the key it was written at."""

from __future__ import annotations

import optuna
import pytest

from tlsweep.errors import Refusal
from tlsweep.study import choice

NEEDED = {"percentile": {"percentile": 25.0}, "threshold": {"lower": 0.1}}


@pytest.mark.parametrize("name", choice.SAMPLERS)
def test_every_sampler_can_be_asked(name: str) -> None:
    study = optuna.create_study(sampler=choice.sampler({"name": name}, seed=0))
    for _ in range(3):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1))
    assert len(study.trials) == 3


@pytest.mark.parametrize("name", choice.PRUNERS)
def test_every_pruner_can_be_asked(name: str) -> None:
    pruner = choice.pruner({"name": name, **NEEDED.get(name, {})})
    study = optuna.create_study(pruner=pruner)
    trial = study.ask()
    trial.report(0.5, 1)
    assert trial.should_prune() in (True, False)


def test_two_samplers_of_one_seed_draw_alike() -> None:
    def drawn(seed: int) -> float:
        study = optuna.create_study(sampler=choice.sampler({"name": "random"}, seed))
        return study.ask().suggest_float("x", 0, 1)

    assert drawn(3) == drawn(3) != drawn(4)


def test_options_reach_optuna() -> None:
    median = choice.pruner({"name": "median", "n_startup_trials": 2, "n_warmup_steps": 0})
    study = optuna.create_study(pruner=median, direction="maximize")
    pruned = []
    for score in (0.9, 0.8, 0.1):
        trial = study.ask()
        trial.report(score, 0)
        pruned.append(trial.should_prune())
        study.tell(trial, score)
    assert pruned == [False, False, True]  # by default five trials come before one is pruned


def test_an_unknown_sampler_is_refused_with_the_nearest() -> None:
    with pytest.raises(Refusal) as caught:
        choice.sampler({"name": "tp"}, 0)
    (fault,) = caught.value.faults
    assert fault.value == "sweep.sampler.name=tp"
    assert fault.rule == "a sampler is one of: tpe, random, gp, qmc"
    assert fault.mend == "sweep.sampler.name=tpe"


def test_an_unknown_pruner_is_refused_under_the_key_of_another_app() -> None:
    with pytest.raises(Refusal) as caught:
        choice.pruner({"name": "medium"}, where="hydra.sweeper.pruner")
    assert caught.value.faults[0].mend == "hydra.sweeper.pruner.name=median"


def test_a_sampler_without_a_name_is_refused() -> None:
    with pytest.raises(Refusal, match=r"sweep\.sampler\.name="):
        choice.sampler({}, 0)


def test_unknown_options_are_refused_all_at_once_with_the_nearest() -> None:
    with pytest.raises(Refusal) as caught:
        choice.sampler({"name": "tpe", "n_startup_trial": 3, "multivariat": True}, 0)
    assert [(f.value, f.mend) for f in caught.value.faults] == [
        ("sweep.sampler.n_startup_trial", "sweep.sampler.n_startup_trials=VALUE"),
        ("sweep.sampler.multivariat", "sweep.sampler.multivariate=VALUE"),
    ]
    assert "n_ei_candidates" in caught.value.faults[0].rule


@pytest.mark.parametrize(
    "options", [{"name": "percentile"}, {"name": "percentile", "percentile": 200}]
)
def test_an_option_that_optuna_does_not_take_is_refused_in_its_words(
    options: dict[str, object],
) -> None:
    with pytest.raises(Refusal) as caught:
        choice.pruner(options)
    (fault,) = caught.value.faults
    assert fault.value.startswith("sweep.pruner=percentile")
    assert "percentile" in fault.value.split(":", 1)[1].lower()
