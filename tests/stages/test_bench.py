"""A trial's config is what Hydra makes of its overrides, however it was come by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict

from tlsweep.jobs.bench import Bench

LINES = (
    (),
    ("seed=3",),
    ("plan=finetune", "train.lr=0.01", "seed=3", "stage=search"),
    ("plan=surgical", "plan.tune=[stage2,stage3]", "schedule=gradual", "schedule.patience=3"),
    ("train.lr=0.1", "plan=transfer", "plan.keep=0.5", "train.lr=0.2"),
    ("source=torchvision", "source.model=resnet18", "target=digits"),
    ("train={epochs: 7}", "plan=scratch"),
    ("record=none", "engine=slurm", 'engine.options=["--account=a"]', "sweep=random"),
    ("sweep.params={train.lr: 'interval(0.1,1)'}", "++sweep.sampler.n_startup_trials=3"),
    ("study='1.10'", "output_dir='a b'", "fold=null"),
    ("sweep.n_jobs=3", "~sweep.params"),
)


def as_hydra(bench: Bench, overrides: tuple[str, ...]) -> Any:
    loader = bench.sweeper.hydra_context.config_loader
    config = loader.load_sweep_config(master_config=bench.config, sweep_overrides=list(overrides))
    with open_dict(config):
        config.pop("hydra")
    return OmegaConf.to_container(config, resolve=True)


@pytest.mark.parametrize("given", [(), ("study=s", "train.epochs=4", "plan=scratch")])
def test_a_config_is_what_hydra_composes_each_time(
    bench: Callable[..., Bench], given: tuple[str, ...]
) -> None:
    made = bench(*given)
    for _ in range(2):  # the second time from what was composed before
        for line in LINES:
            found = OmegaConf.to_container(made.compose([*given, *line]), resolve=True)
            assert found == as_hydra(made, (*given, *line)), line


@pytest.mark.parametrize(
    "line", [("trian.lr=1",), ("plan=nothing",), ("plan@x=scratch",), ("train.lr=1,2",)]
)
def test_what_hydra_refuses_is_refused(bench: Callable[..., Bench], line: tuple[str, ...]) -> None:
    made = bench()
    made.compose([])
    with pytest.raises(HydraException) as hydras:
        as_hydra(made, line)
    with pytest.raises(HydraException) as ours:
        made.compose(line)
    assert str(ours.value) == str(hydras.value)
