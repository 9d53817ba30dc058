"""A command line, parted: Hydra's own options, and the overrides as Hydra reads them."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from tlsweep.errors import Fault, Refusal, nearest
from tlsweep.files import at_home

_MENDS = {
    "--cfg": "--cfg job",
    "--info": "--info all, at the end of the line",
    "--package": "--package GROUP",
    "--config-name": "--config-name NAME",
    "--config-dir": "--config-dir DIR",
    "--config-path": "--config-dir DIR",
}
_NOT_HERE = ("--config-path", "--experimental-rerun")  # refused, with what to write instead
_PATHS = ("root", "file", "checkpoint", "cache_dir", "output_dir")  # keys of files and folders
_OPEN = ("sweep.sampler.", "sweep.pruner.", "hydra.job.env_set.")  # hold whatever keys are given


@dataclass(frozen=True)
class Line:
    """A command line. options: Hydra's own that were given, by their long names without dashes."""

    overrides: tuple[str, ...]
    options: Mapping[str, Any]

    @property
    def config_name(self) -> str:
        """The config that everything starts from."""
        return str(self.options.get("config-name", "config")).removesuffix(".yaml")

    @property
    def is_shown(self) -> bool:
        """Whether something is printed in place of running."""
        return not {"cfg", "info", "shell-completion", "hydra-help"}.isdisjoint(self.options)

    def arguments(self) -> list[str]:
        """As Hydra takes it: its options first, which it does not find behind an override."""
        options = [
            f"--{name}" if value is True else f"--{name}={value}"
            for name, value in self.options.items()
        ]
        return [*options, *self.overrides]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refusal(_fault(message))


def parted(arguments: Sequence[str]) -> Line:
    """The parts of a command line. Raises Refusal for an option that Hydra does not know."""
    # Hydra's parser is asked by one that raises; it would print its usage and exit
    parser = _Parser(prog="tlsweep", parents=[get_args_parser()], add_help=False)
    given = vars(parser.parse_intermixed_args(list(arguments)))
    overrides = given.pop("overrides")
    options = {k.replace("_", "-"): v for k, v in given.items() if v not in (None, False)}
    return Line(tuple(map(as_meant, overrides)), options)


def _fault(message: str) -> Fault:
    known = [
        name
        for action in get_args_parser()._actions
        for name in action.option_strings
        if name.startswith("--") and name not in _NOT_HERE
    ]
    if named := re.match(r"argument (--[-\w]+)", message):
        mend = _MENDS.get(named[1], f"{named[1]} alone")
    elif strange := re.match(r"unrecognized arguments: (--\S+)", message):
        mend = nearest(strange[1], known) or "see python -m tlsweep --help"
    else:
        mend = "see python -m tlsweep --help"
    return Fault(message, f"options are {', '.join(known)}", mend)


# ---------------------------------------------------------------------- overrides
def as_meant(argument: str) -> str:
    """The override as Hydra needs it written.

    A range of the search space, or an option of a sampler or pruner, that conf/ does not give is
    added without Hydra's ``+``; a range is changed or (``~``) taken out by its name; the ``~`` that
    a path begins with, which the shell leaves alone, is the user's home; and a file or folder that
    is there is meant as it is called, whatever is in its name.
    """
    key, equals, value = argument.partition("=")
    if key == "study" and _looks_like_a_number(value):
        return f"study='{value}'"  # YAML would make 1.1 of 1.10, and 202401 of 2024_01
    if equals and (key == "sweep.params" or key.startswith(_OPEN)):
        return f"++{argument}"
    if key.lstrip("+~").startswith("sweep.params."):
        return _range(argument)
    if equals and _is_there(key, value) and _read(value) != value:
        return f"{key}={quoted(at_home(value))}"
    # only where a path begins; Hydra's grammar has no other place for it
    return key + equals + re.sub(r"(?<![^,])~(?=/|,|$)", lambda _: str(Path.home()), value)


def _looks_like_a_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _is_there(key: str, value: str) -> bool:
    """Whether a value is the path of a file or a folder."""
    named = "/" in value or key.rsplit(".", 1)[-1] in _PATHS
    return named and os.path.lexists(at_home(value))


def _range(argument: str) -> str:
    """One range of the search space, whose name has dots, which a key of Hydra's cannot have."""
    key, equals, value = argument.partition("=")
    name = key.lstrip("+~").removeprefix("sweep.params.")
    if key.startswith("~"):
        written = "null"
    elif not equals:
        return argument
    else:
        text = _unquoted(value)
        written = "null" if text == "null" else quoted(text)
    return f"++sweep.params={{{name}: {written}}}"


def _unquoted(value: str) -> str:
    read = _read(value)
    return read if isinstance(read, str) else value


def _read(value: str) -> Any:
    """What Hydra reads in a value; None where it cannot, which is told when all is read."""
    try:
        return OverridesParser.create().parse_override(f"x={value}").value()
    except HydraException:
        return None


def quoted(text: str) -> str:
    """A text as a value in Hydra's override grammar: a path may hold quotes, commas, spaces."""
    # backslashes count as escapes only where a quote follows
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + (r"\'" if m[2] else ""), text)
    return f"'{escaped}'"
