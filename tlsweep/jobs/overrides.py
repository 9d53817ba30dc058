"""The overrides of a command line, checked all at once against what Hydra would compose."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import OmegaConf

from tlsweep.config.faults import has_key, of_another_variant
from tlsweep.config.settings import Settings, flatten
from tlsweep.errors import Fault, Refusal, nearest, unknown_name
from tlsweep.files import in_words
from tlsweep.jobs.line import Line, parted
from tlsweep.registry import INSIDE

_SEVERAL = "experiment"  # the group of which several options may be chosen
_SEARCHED = ("plan", "train", "schedule")  # the groups that a search space may have ranges of


@dataclass(frozen=True)
class _Configs:
    """The configs that a command line chooses from. path: its own folders, as overrides."""

    loader: ConfigLoader
    name: str
    path: list[str]

    def options(self, group: str) -> list[str]:
        """The options of a group, the user's own too; none where it is no group."""
        found = self.loader.get_group_options(group, config_name=self.name, overrides=self.path)
        return list(found)

    def composed(self, overrides: Sequence[str]) -> dict[str, Any]:
        """What Hydra would compose, its own part too, as a tree."""
        made = compose(self.name, overrides=[*self.path, *overrides], return_hydra_config=True)
        tree = OmegaConf.to_container(made, resolve=False)
        assert isinstance(tree, dict)
        return {str(key): value for key, value in tree.items()}


def refuse_unknown(line: Line, conf: Path) -> None:
    """Raise Refusal with every override that cannot be read, or whose key or group is unknown.

    conf: the folder of configs that is always there.
    """
    faults: list[Fault] = []
    parsed = [p for a in line.overrides if (p := _parse(a, faults)) is not None]
    if places := [*_folder_faults(line), *_path_faults(parsed)]:
        raise Refusal(*faults, *places)  # the rest depends on what lies there
    with _opened(line, conf) as loader:
        path = [str(p.input_line) for p in parsed if p.key_or_group == "hydra.searchpath"]
        configs = _Configs(loader, line.config_name, path)
        if line.config_name not in (names := configs.options("")):
            names = [name for name in names if not name.startswith("_")]  # Hydra's own
            raise Refusal(*faults, unknown_name("config", "--config-name", line.config_name, names))
        options = {key: configs.options(key) for key in {p.key_or_group for p in parsed}}
        groups = [p for p in parsed if options[p.key_or_group]]
        wrong = [_unknown_options(g, options[g.key_or_group]) for g in groups]
        faults += [fault for found in wrong for fault in found]
        known = [g for g, found in zip(groups, wrong, strict=True) if not found]
        package = str(line.options.get("package", "_global_"))
        faults += _unknown_keys([p for p in parsed if p not in groups], known, configs, package)
    if faults:
        raise Refusal(*faults)


def compose_config(arguments: Sequence[str], conf: Path) -> Any:
    """The config of a sub-command."""
    line = parted(arguments)
    refuse_unknown(line, conf)
    with _opened(line, conf):
        return compose(line.config_name, overrides=list(line.overrides))


@contextmanager
def _opened(line: Line, conf: Path) -> Iterator[ConfigLoader]:
    """Hydra over the folders that it would look in for this command line."""
    path = create_config_search_path(str(conf))
    if folder := line.options.get("config-dir"):
        schema = SearchPathQuery(provider="schema")
        path.prepend("command-line", f"file://{os.path.abspath(folder)}", schema)  # noqa: PTH100
    version.setbase("1.3")
    GlobalHydra.instance().clear()
    try:
        yield Hydra.create_main_hydra2("tlsweep", path).config_loader
    finally:
        GlobalHydra.instance().clear()


def _parse(argument: str, faults: list[Fault]) -> Override | None:
    try:
        argument.encode()
    except UnicodeEncodeError:
        rule = "what is typed is UTF-8; inside of a folder or zip files may have names of any bytes"
        mend = "another name, or a link: ln -s OLD NEW, and NEW in its place"
        faults.append(Fault(in_words(argument), rule, mend))
        return None
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), "")
        faults.append(
            Fault(
                f"{argument}: {reason}",
                "an override is KEY=VALUE; a value with spaces, commas or brackets is quoted",
                f"'{argument.split('=', 1)[0]}=\"VALUE\"'",
            )
        )
        return None


# ---------------------------------------------------------------------- folders
def _folder_faults(line: Line) -> list[Fault]:
    folder = line.options.get("config-dir")
    if folder is None or Path(folder).is_dir():
        return []
    return [_no_folder(f"--config-dir {folder}", Path(folder), "--config-dir {}")]


def _path_faults(parsed: Sequence[Override]) -> list[Fault]:
    faults = []
    for override in parsed:
        if override.key_or_group != "hydra.searchpath":
            continue
        given, written = override.value(), str(override.input_line)
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            rule = "hydra.searchpath is a list of folders"
            faults.append(Fault(written, rule, "'hydra.searchpath=[file://DIR]'"))
            continue
        folders = [Path(one.removeprefix("file://")) for one in given if "pkg://" not in one]
        mend = "'hydra.searchpath=[file://{}]'"
        faults += [_no_folder(written, one, mend) for one in folders if not one.is_dir()]
    return faults


def _no_folder(given: str, folder: Path, mend: str) -> Fault:
    beside = folder.absolute().parent
    names = [one.name for one in beside.iterdir() if one.is_dir()] if beside.is_dir() else []
    near = nearest(folder.name, names, alike=0.75)
    rule = f"configs of your own lie in a folder that is there; {folder} is none"
    return Fault(given, rule, mend.format(folder.parent / near if near else "DIR"))


# ---------------------------------------------------------------------- options of groups
def _values(override: Override) -> list[str]:
    value = override.value()
    if not override.is_sweep_override():
        return [str(v) for v in value] if isinstance(value, list) else [str(value)]
    if isinstance(value, Glob | IntervalSweep | RangeSweep):
        return []
    return list(override.sweep_string_iterator())


def _unknown_options(group: Override, known: Sequence[str]) -> list[Fault]:
    name = group.key_or_group
    listed = group.value()
    if group.is_delete():
        if listed is None or isinstance(listed, str):
            return []  # Hydra's own affair
        rule = f"~{name} takes an option of {name}, or none"
        return [Fault(str(group.input_line), rule, "leave it out")]
    if name == "hydra/sweeper" and _values(group) != ["tlsweep"]:
        rule = "tlsweep sweeps by itself: lists are a grid, ranges beside sweep=NAME are searched"
        return [Fault(str(group.input_line), rule, "leave it out; a grid: -m plan.keep=1,2")]
    if isinstance(listed, list) and len(listed) != 1 and name != _SEVERAL:
        options = [str(option) for option in listed] or known
        rule = f"one option of {name} is chosen"
        mend = f"{name}={options[0]}; a grid over several: -m {name}={','.join(options)}"
        return [Fault(str(group.input_line), rule, mend)]
    given = _values(group)
    told = [option for option in known if option not in INSIDE]
    return [unknown_name(name, name, value, told) for value in given if value not in known]


# ---------------------------------------------------------------------- keys
def _unknown_keys(
    overrides: Sequence[Override], groups: Sequence[Override], configs: _Configs, package: str
) -> list[Fault]:
    # as written, so that ~GROUP deletes here too; of a list, the first
    chosen = [
        f"{g.get_key_element()}={v[0]}" if g.is_sweep_override() else str(g.input_line)
        for g in groups
        if (v := _values(g))
    ]
    tree = configs.composed(chosen)
    if fault := _unknown_package(package, tree):
        return [fault]
    if not set(Settings.model_fields) <= {*tree, *(g.key_or_group for g in groups)}:
        return [_not_ours(configs.name)]  # a group that was deleted is told later
    leaves = dict(flatten(tree))
    faults = []
    for override in overrides:
        if override.key_or_group == "sweep.params":
            faults += _unknown_ranges(override, leaves)
        elif fault := _unknown_key(override, leaves):
            faults.append(fault)
    return faults


def _not_ours(name: str) -> Fault:
    rule = "a config of your own begins with all that tlsweep's has"
    return Fault(f"--config-name {name}", rule, f"defaults: [config, _self_] at the top of {name}")


def _unknown_package(package: str, tree: dict[str, Any]) -> Fault | None:
    if package == "_global_" or OmegaConf.select(OmegaConf.create(tree), package) is not None:
        return None
    known = [name for name, value in tree.items() if isinstance(value, dict)]
    return unknown_name("part of the config that --package shows", "--package", package, known)


def _unknown_key(override: Override, leaves: Mapping[str, Any]) -> Fault | None:
    key = override.key_or_group
    if override.is_add() or override.is_force_add() or _free(key) or _there(key, leaves):
        return None
    if fault := of_another_variant(key, str(override.input_line)):
        return fault
    # Hydra's own keys are for those who ask for one, and they are many
    own = key.startswith("hydra.")
    known, parts = [k for k in leaves if k.startswith("hydra.") == own], 2 if own else 1
    top = {k: ".".join(k.split(".")[:parts]) for k in known}
    near = sorted(k for k in known if key.startswith(f"{top[k]}.")) or sorted(set(top.values()))
    guess = nearest(key, known)
    mend = f"{guess}=VALUE" if guess else "see python -m tlsweep --help"
    return Fault(f"unknown key {key}", unknown_name("key", key, "", near).rule, mend)


def _there(key: str, leaves: Mapping[str, Any]) -> bool:
    lists = [k for k, v in leaves.items() if isinstance(v, list)]  # sweep.confirm.controls.0
    inside = any(k.startswith(f"{key}.") for k in leaves)
    return inside or key in leaves or any(key.startswith(f"{k}.") for k in lists)


def _free(key: str) -> bool:
    # these hold whatever keys the user gives them
    free = ("sweep.sampler", "sweep.pruner", "trial")
    return any(key == name or key.startswith(f"{name}.") for name in free)


def _unknown_ranges(override: Override, leaves: Mapping[str, Any]) -> list[Fault]:
    ranges, known = override.value(), [k for k in leaves if k.split(".")[0] in _SEARCHED]
    known += [group for group in _SEARCHED if f"{group}.name" in leaves]
    return [
        Fault(
            f"unknown key {key} in sweep.params",
            "a search space has ranges of plan, plan.KEY, train.KEY, schedule and schedule.KEY",
            f"sweep.params.{nearest(key, known) or 'train.lr'}=VALUE",
        )
        for key in (map(str, ranges) if isinstance(ranges, dict) else ())
        if key not in leaves and key not in known and not has_key(key)
    ]
