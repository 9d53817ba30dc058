"""Hydra's door to tlsweep: a sweeper that hands over to tlsweep at once.

Hydra finds plug-ins only under this namespace, and imports them at every start, so nothing heavy
is imported here. Its scanner runs this file before the module is known to Python, which dataclasses
with postponed annotations do not survive: hence no ``from __future__ import annotations``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class SweeperConfig:
    """The keys of Hydra's published Optuna sweeper, and pruner, resume and seed."""

    _target_: str = "hydra_plugins.tlsweep_sweeper.TlsweepSweeper"
    _recursive_: bool = False  # a config names a sampler; code that it names is not run
    direction: Any = "minimize"  # or a list, one for each value that the app returns
    storage: str | None = None
    study_name: str | None = None
    n_trials: int = 20
    n_jobs: Any = 1  # tlsweep's own sweeps know auto, too
    max_failure_rate: float = 0.0
    sampler: dict[str, Any] = field(default_factory=lambda: {"name": "tpe"})
    pruner: dict[str, Any] = field(default_factory=lambda: {"name": "median"})
    resume: bool = True
    seed: int = 0
    params: dict[str, str | None] = field(default_factory=dict)
    # of the published sweeper; refused, with what to write instead
    search_space: Any = None
    custom_search_space: Any = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="tlsweep", node=SweeperConfig, provider="tlsweep_sweeper"
)


class TlsweepSweeper(Sweeper):
    """Runs tlsweep's own sweeps under tlsweep, and searches or grids under any other Hydra app."""

    config: DictConfig | None
    launcher: Launcher | None
    hydra_context: HydraContext | None

    def __init__(self, **options: Any) -> None:
        self.options: dict[str, Any] = {
            key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for key, value in options.items()
        }
        self.config = self.launcher = self.hydra_context = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what a sweep needs and make the launcher."""
        from hydra.core.plugins import Plugins

        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the sweep that the command line asks for."""
        from tlsweep.jobs.bench import Bench

        assert self.config is not None
        bench = Bench(self, SweepOptions(**self.options))
        if {"source", "target", "plan", "schedule", "train", "sweep", "trial"} <= set(self.config):
            from tlsweep.stages.story import sweep

            return sweep(bench, arguments)
        from tlsweep.jobs.foreign import sweep_foreign_app

        return sweep_foreign_app(bench, arguments)


@dataclass(frozen=True)
class SweepOptions:
    """``hydra.sweeper``, as plain values."""

    direction: Any
    storage: str | None
    study_name: str | None
    n_trials: int
    n_jobs: int
    max_failure_rate: float
    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any]
    resume: bool
    seed: int
    params: Mapping[str, str | None]
    search_space: Any = None
    custom_search_space: Any = None

    @property
    def searches(self) -> Sequence[str]:
        """The search space as overrides; a range that is null was taken out of it."""
        return [f"{key}={value}" for key, value in self.params.items() if value is not None]


class TlsweepSearchPath(SearchPathPlugin):
    """Finds the YAML of sources and targets that other packages bring to tlsweep."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Look in ``conf/`` beside their modules, too; for tlsweep alone, not for other apps."""
        from tlsweep.cli import conf_folder

        ours = str(conf_folder())
        if not any(element.path.removeprefix("file://") == ours for element in _paths(search_path)):
            return
        from tlsweep.registry import conf_folders

        for folder in conf_folders():
            search_path.append("tlsweep", f"file://{folder}")


def _paths(search_path: ConfigSearchPath) -> list[Any]:
    return [element for element in search_path.get_path() if element.path is not None]
