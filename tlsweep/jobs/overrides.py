"""The overrides of a command line, checked against conf/ all at once, before Hydra composes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import OmegaConf

from tlsweep.config.faults import of_another_variant
from tlsweep.config.settings import flatten
from tlsweep.errors import Fault, Refusal, nearest, unknown_name

_SEVERAL = "experiment"  # the group of which several options may be chosen


def refuse_unknown(arguments: Sequence[str], conf: Path) -> None:
    """Raise Refusal with every override that cannot be read, or whose key or group is unknown."""
    with initialize_config_dir(str(conf), version_base="1.3"):
        faults: list[Fault] = []
        parsed = [p for a in arguments if (p := _parse(a, faults)) is not None]
        groups = [p for p in parsed if _options(p.key_or_group)]
        for group in groups:
            faults += _unknown_options(group)
        known = [g for g in groups if not _unknown_options(g)]
        faults += _unknown_keys([p for p in parsed if p not in groups], known)
    GlobalHydra.instance().clear()
    if faults:
        raise Refusal(*faults)


def as_meant(argument: str) -> str:
    """The argument as Hydra needs it written.

    An option of a sampler or pruner that conf/ does not give is added without Hydra's ``+``, and
    a leading ``~`` of output_dir, which the shell leaves alone, is the user's home.
    """
    key, equals, value = argument.partition("=")
    if key == "study" and _looks_like_a_number(value):
        return f"study='{value}'"  # YAML would make 1.1 of 1.10, and 202401 of 2024_01
    if equals and key.startswith(("sweep.sampler.", "sweep.pruner.")):
        return f"++{argument}"
    if key == "output_dir":
        return f"{key}={os.path.expanduser(value)}"  # noqa: PTH111 - Path drops what Hydra reads
    return argument


def _looks_like_a_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def compose_config(arguments: Sequence[str], conf: Path) -> Any:
    """The config of a sub-command."""
    refuse_unknown(arguments, conf)
    with initialize_config_dir(str(conf), version_base="1.3"):
        return compose("config", overrides=list(arguments))


def _parse(argument: str, faults: list[Fault]) -> Override | None:
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


def _options(group: str) -> list[str]:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    return list(hydra.config_loader.get_group_options(group))


def _values(override: Override) -> list[str]:
    value = override.value()
    if not override.is_sweep_override():
        return [str(v) for v in value] if isinstance(value, list) else [str(value)]
    if isinstance(value, Glob | IntervalSweep | RangeSweep):
        return []
    return list(override.sweep_string_iterator())


def _unknown_options(group: Override) -> list[Fault]:
    name, known = group.key_or_group, _options(group.key_or_group)
    listed = group.value()
    if group.is_delete():
        if listed is None or isinstance(listed, str):
            return []  # Hydra's own affair
        rule = f"~{name} takes an option of {name}, or none"
        return [Fault(str(group.input_line), rule, "leave it out")]
    if isinstance(listed, list) and len(listed) != 1 and name != _SEVERAL:
        options = [str(option) for option in listed] or known
        rule = f"one option of {name} is chosen"
        mend = f"{name}={options[0]}; a grid over several: -m {name}={','.join(options)}"
        return [Fault(str(group.input_line), rule, mend)]
    given = _values(group)
    return [unknown_name(name, name, value, known) for value in given if value not in known]


def _unknown_keys(overrides: Sequence[Override], groups: Sequence[Override]) -> list[Fault]:
    # as written, so that ~GROUP deletes here too; of a list, the first
    chosen = [
        f"{g.get_key_element()}={v[0]}" if g.is_sweep_override() else str(g.input_line)
        for g in groups
        if (v := _values(g))
    ]
    tree = OmegaConf.to_container(compose("config", overrides=chosen), resolve=False)
    assert isinstance(tree, dict)
    leaves = dict(flatten({str(k): v for k, v in tree.items()}))
    known, lists = set(leaves), [k for k, v in leaves.items() if isinstance(v, list)]
    faults = []
    for override in overrides:
        key = override.key_or_group
        adds = override.is_add() or override.is_force_add()
        ours = not adds and not key.startswith(("hydra.", "hydra/"))
        inside = any(k.startswith(f"{key}.") for k in known)
        inside |= any(key.startswith(f"{k}.") for k in lists)  # sweep.confirm.controls.0
        if ours and key not in known and not inside and not _free(key):
            if fault := of_another_variant(key, str(override.input_line)):
                faults.append(fault)
                continue
            near = sorted(k for k in known if k.split(".")[0] == key.split(".")[0]) or sorted(
                {k.split(".")[0] for k in known}
            )
            fault = unknown_name("key", key, "", near)
            faults.append(Fault(f"unknown key {key}", fault.rule, _nearest_key(key, known)))
    return faults


def _free(key: str) -> bool:
    # these hold whatever keys the user gives them
    free = ("sweep.params", "sweep.sampler", "sweep.pruner", "trial")
    return any(key == name or key.startswith(f"{name}.") for name in free)


def _nearest_key(key: str, known: set[str]) -> str:
    guess = nearest(key, known)
    return f"{guess}=VALUE" if guess else "see python -m tlsweep --help"


def refuse_flags(arguments: Sequence[str]) -> None:
    """Raise Refusal for Hydra's own options where it would end in a traceback."""
    kinds = {
        "-m": ("-m", "--multirun"), "--run": ("-r", "--run"), "--cfg": ("-c", "--cfg"),
        "--info": ("-i", "--info"), "-sc": ("-sc", "--shell-completion"),
    }  # fmt: skip
    given = [name for name, flags in kinds.items() if _has(arguments, flags)]
    if len(given) > 1:
        rule = "one of -m, --run, --cfg, --info and -sc is given"
        rest = " and ".join(given[1:])
        raise Refusal(Fault(" ".join(given), rule, f"{given[0]} without {rest}, or the reverse"))
    if "--resolve" in arguments and "--cfg" not in given:
        rule = "--resolve says how --cfg shows a config"
        raise Refusal(Fault("--resolve without --cfg", rule, "--cfg job --resolve"))


def _has(arguments: Sequence[str], flags: Sequence[str]) -> bool:
    return any(a in flags or a.partition("=")[0] in flags for a in arguments)


def refuse_sweep(arguments: Sequence[str]) -> None:
    """Raise Refusal for settings of a sweep where one plan is to be trained: they would do nothing.

    arguments: of the command line; with options of Hydra among them anything goes.
    """
    given = [a for a in arguments if a.split("=")[0].split(".")[0].lstrip("+~") == "sweep"]
    if given and not any(a.startswith(("-", "hydra.")) for a in arguments):
        raise Refusal(
            Fault(
                f"{given[0]} without -m",
                "without -m one plan is trained, and nothing is swept",
                f"python -m tlsweep -m {' '.join(arguments)}",
            )
        )
