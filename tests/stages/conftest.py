"""A sweep's bench with Hydra's own config loader, and sessions whose trials are the test's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode

from hydra_plugins.tlsweep_sweeper import SweepOptions
from tlsweep import screen
from tlsweep.cli import conf_folder
from tlsweep.config.read import read
from tlsweep.jobs.bench import Bench
from tlsweep.stages.crews import Act
from tlsweep.stages.session import Session
from tlsweep.stages.sources import only
from tlsweep.study import choice
from tlsweep.trial import question_of

Job = Callable[[Any], Any]
MakeSession = Callable[..., Session]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes what a sweep is given. job: what runs with each job's config."""
    GlobalHydra.instance().clear()
    version.setbase("1.3")
    hydra = Hydra.create_main_hydra2("tlsweep", create_config_search_path(str(conf_folder())))

    def make(*overrides: str, job: Job = lambda config: 0.5) -> Bench:
        config = hydra.compose_config(
            "config", [f"hydra.sweep.dir={tmp_path / 'hydra'}", *overrides], RunMode.MULTIRUN
        )
        sweeper = Plugins.instance().instantiate_sweeper(
            config=config,
            hydra_context=HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks()),
            task_function=job,
        )
        return Bench(sweeper, SweepOptions(**sweeper.options))  # type: ignore[attr-defined]

    yield make
    GlobalHydra.instance().clear()


@pytest.fixture
def session(bench: Callable[..., Bench], lines: tuple[str, ...]) -> MakeSession:
    """Makes the session of a sweep with these overrides. act: what runs in place of training."""
    choice.silence_experimental()

    def make(*overrides: str, act: Act = lambda brief, study, job: 0.5) -> Session:
        arguments = (*lines, "study=s", "record=none", *overrides)
        made = bench(*arguments)
        asked = read(made.compose(arguments))
        sources, began = (only(asked, question_of(asked)),), time.monotonic()
        shown = screen.Screen()
        found = Session(made, asked, sources, arguments, shown, began, arguments, act=act)
        found.folder.mkdir(parents=True, exist_ok=True)
        return found

    return make
