"""What a sweep needs of Hydra: composing a job's config, and launching jobs."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf, open_dict

from tlsweep.errors import Fault, Refusal
from tlsweep.study.crew import Ended

# what is looked up elsewhere, or names code for an app to make something with
_MORE_THAN_DATA = re.compile(r"\$\{[^}]*\}?|_target_")


@dataclass
class Bench:
    """Hydra's launcher and config loader behind two calls.

    sweeper: our Hydra sweeper after its ``setup``; options: its ``hydra.sweeper`` values.
    """

    sweeper: Any
    options: Any
    launched: int = 0
    _known: dict[tuple[str, ...], DictConfig] = field(default_factory=dict)

    @property
    def config(self) -> DictConfig:
        """The config that the sweep was started with."""
        config: DictConfig = self.sweeper.config
        return config

    def parser(self) -> OverridesParser:
        """Hydra's parser, which knows the config groups."""
        return OverridesParser.create(config_loader=self.sweeper.hydra_context.config_loader)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a job with these overrides. Raises Hydra's errors.

        What the groups give is composed once for each choice of options, which takes Hydra a fifth
        of a second; single values are set in a copy of it, as Hydra does after that.
        """
        parsed = self.parser().parse_overrides(list(overrides))
        self._refuse_unasked(o for o in parsed if not o.is_hydra_override())
        values = [o for o in parsed if not self._chooses(o)]
        if any(o.is_sweep_override() or o.is_hydra_override() for o in parsed):
            return self._composed(tuple(overrides))
        chosen = tuple(str(o.input_line) for o in parsed if o not in values)
        if chosen not in self._known:
            self._known[chosen] = self._composed(chosen)
        config = copy.deepcopy(self._known[chosen])
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        return config

    def _chooses(self, override: Override) -> bool:
        """Whether an override chooses an option of a group."""
        of_group = override.key_or_group.partition("/")[0] in self._groups
        return override.package is not None or (of_group and not isinstance(override.value(), dict))

    @cached_property
    def _groups(self) -> frozenset[str]:
        return frozenset(self.sweeper.hydra_context.config_loader.list_groups(""))

    def _composed(self, overrides: Sequence[str]) -> DictConfig:
        loader = self.sweeper.hydra_context.config_loader
        config: DictConfig = loader.load_sweep_config(
            master_config=self.config, sweep_overrides=list(overrides)
        )
        with open_dict(config):
            config.pop("hydra")
        return config

    @property
    def own_configs(self) -> list[str]:
        """What of the command line says where the user's own configs are, as arguments."""
        hydra = self.config.hydra
        given: Any = OmegaConf.to_container(hydra.overrides.hydra, resolve=False)
        folders = [c.path for c in hydra.runtime.config_sources if c.provider == "command-line"]
        name = [] if hydra.job.config_name == "config" else [hydra.job.config_name]
        return [
            *(f"--config-dir={folder}" for folder in folders),
            *(f"--config-name={one}" for one in name),
            *(o for o in given if o.startswith("hydra.searchpath=")),
        ]

    def options_of(self, group: str) -> list[str]:
        """The names of a config group, those in the user's own folders too."""
        loader, name = self.sweeper.hydra_context.config_loader, self.config.hydra.job.config_name
        path = [o for o in self.own_configs if o.startswith("hydra.searchpath=")]
        return list(loader.get_group_options(group, config_name=name, overrides=path))

    @property
    def launcher(self) -> str:
        """The class of Hydra's launcher."""
        return str(self.config.hydra.launcher._target_).rpartition(".")[2]

    @property
    def has_launcher(self) -> bool:
        """Whether jobs go elsewhere: another launcher than Hydra's own was chosen."""
        return self.launcher != "BasicLauncher"

    def launch(self, jobs: Sequence[Sequence[str]]) -> list[JobReturn]:
        """Run one job for each list of overrides, and wait for all of them."""
        batch = [list(overrides) for overrides in jobs]
        for overrides in batch:
            self._refuse_unasked(self.parser().parse_overrides(overrides))
        returns = self.sweeper.launcher.launch(batch, initial_job_idx=self.launched)
        self.launched += len(batch)
        return list(returns)

    def _refuse_unasked(self, overrides: Iterable[Override]) -> None:
        """Raise Refusal for what no command line asked for: a study's overrides are data.

        Hydra's own keys would run code (a handler of logs, a variable of the environment), as
        ``_target_`` may, and ``${...}`` would put what the environment holds into what is recorded.
        """
        for override in overrides:
            written = str(override.input_line)
            more = [one for one in _MORE_THAN_DATA.findall(written) if one not in self._typed]
            if override.is_hydra_override() or more:
                rule = "what a study holds of a trial is keys and values of the app, and no more"
                mend = "delete that trial, or another name for the study"
                raise Refusal(Fault(f"{written} in a study", rule, mend))

    @cached_property
    def _typed(self) -> str:
        """What the user wrote: on the command line, and as the search space."""
        given: Any = OmegaConf.to_container(self.config.hydra.overrides, resolve=False)
        lines = [*given["hydra"], *given["task"], *self.options.searches]
        return "\n".join(map(str, lines))

    def folder(self) -> Path:
        """Hydra's sweep folder, made if it is missing."""
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def ended(job: JobReturn) -> Ended:
    """How a job ended, without raising what it raised."""
    if job.status == JobStatus.COMPLETED:
        return Ended(value=job.return_value)
    error = job._return_value
    return Ended(error=error if isinstance(error, BaseException) else RuntimeError(str(error)))
