"""What a command line asks for that would do nothing, or that Hydra ends with a traceback on."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tlsweep.errors import Fault, Refusal, nearest
from tlsweep.jobs.line import Line

_ONE_OF = {"multirun": "-m", "run": "--run", "cfg": "--cfg", "info": "--info",
           "shell-completion": "-sc"}  # fmt: skip
_SHELLS = ("bash", "zsh", "fish")
_DONE = ("install", "uninstall", "query")  # what -sc does with a shell
# keys of hydra.sweeper that have another name here
_OTHERWISE = {"study_name": "study", "seed": "seed"}


def refuse_without_effect(line: Line) -> None:
    """Raise Refusal with all that would be ignored, so that nobody believes that it was not."""
    faults = [*_options(line), *_completion(line), *_sweeper(line), *_sweep(line)]
    if faults:
        raise Refusal(*faults)


def refuse_others(line: Line, command: str, keys: Sequence[str]) -> None:
    """Raise Refusal with all that a sub-command has no use for.

    keys: the groups and keys that it reads; a user's own configs may set those.
    """
    used = (*keys, "experiment", "hydra.searchpath")
    faults = [
        Fault(f"--{option} with {command}", f"{command} does one thing, and trains nothing", mend)
        for option in line.options
        if option not in ("config-dir", "config-name")
        for mend in [f"leave it out, or python -m tlsweep --{option} without {command}"]
    ]
    faults += [
        Fault(f"{argument} with {command}", f"{command} reads {', '.join(keys)}", "leave it out")
        for argument in line.overrides
        if not _is_of(argument, used)
    ]
    if faults:
        raise Refusal(*faults)


def _is_of(argument: str, keys: Sequence[str]) -> bool:
    key = argument.lstrip("+~").split("=")[0]
    return any(key == one or key.startswith((f"{one}.", f"{one}@")) for one in keys)


def _options(line: Line) -> list[Fault]:
    given, faults = [name for key, name in _ONE_OF.items() if key in line.options], []
    if len(given) > 1:
        rule = "one of -m, --run, --cfg, --info and -sc is given"
        rest = " and ".join(given[1:])
        mend = f"{given[0]} without {rest}, or the reverse"
        faults.append(Fault(" ".join(given), rule, mend))
    if "cfg" not in line.options:
        faults += [
            Fault(f"--{name} without --cfg", f"--{name} says how --cfg shows a config", mend)
            for name, mend in (
                ("resolve", "--cfg job --resolve"),
                ("package", f"--cfg job --package {line.options.get('package')}"),
            )
            if name in line.options
        ]
    if (folder := line.options.get("config-path")) is not None:
        rule = "configs of your own lie beside tlsweep's, which are always there"
        faults.append(Fault(f"--config-path {folder}", rule, f"--config-dir {folder}"))
    if "multirun" in line.options and "hydra.mode=RUN" in line.overrides:
        faults.append(Fault("-m hydra.mode=RUN", "-m sweeps, and RUN does not", "-m alone"))
    if (file := line.options.get("experimental-rerun")) is not None:
        rule = "a run is run again from what was recorded of it"
        mend = "python -m tlsweep reproduce run=ID"
        faults.append(Fault(f"--experimental-rerun {file}", rule, mend))
    return faults


def _completion(line: Line) -> list[Fault]:
    if "shell-completion" not in line.options:
        return []
    given = [a.partition("=") for a in line.overrides]
    if len(given) == 1 and given[0][0] in _DONE and given[0][2] in _SHELLS:
        if given[0][0] != "query" or "COMP_LINE" in os.environ:
            return []
        rule = "query is what an installed completion asks with; the line is in COMP_LINE"
        return [Fault(f"-sc {line.overrides[0]}", rule, f"-sc install={given[0][2]}")]
    rule = f"-sc takes one of {', '.join(_DONE)}, and a shell: {', '.join(_SHELLS)}"
    done = nearest(given[0][0], _DONE) if given else None
    shell = nearest(given[0][2], _SHELLS) if given else None
    mend = f"-sc {done or 'install'}={shell or 'bash'}"
    return [Fault(" ".join(["-sc", *line.overrides]), rule, mend)]


def _sweeper(line: Line) -> list[Fault]:
    faults = []
    for argument in line.overrides:
        key, _, value = argument.lstrip("+~").partition("=")
        if key.startswith("hydra.sweeper."):
            name = key.removeprefix("hydra.sweeper.")
            rule = "a sweep is set by its own keys, which are recorded with it"
            mend = f"{_OTHERWISE.get(name, f'sweep.{name}')}={value}"
            faults.append(Fault(argument, rule, mend))
    return faults


def _sweep(line: Line) -> list[Fault]:
    """Settings of a sweep where one plan is to be trained."""
    swept = "multirun" in line.options or "hydra.mode=MULTIRUN" in line.overrides
    given = [a for a in line.overrides if a.split("=")[0].split(".")[0].lstrip("+~") == "sweep"]
    if swept or line.is_shown or not given:
        return []
    mended = Line(line.overrides, {"multirun": True, **line.options}).arguments()
    return [
        Fault(
            f"{given[0]} without -m",
            "without -m one plan is trained, and nothing is swept",
            f"python -m tlsweep {_shell(mended)}",
        )
    ]


def _shell(arguments: Sequence[str]) -> str:
    return " ".join("-m" if a == "--multirun" else a for a in arguments)
