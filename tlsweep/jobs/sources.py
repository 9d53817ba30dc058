"""How a command line chooses each of the sources that one study compares: ``sweep.sources``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from tlsweep.errors import Fault, Refusal, nearest
from tlsweep.jobs.bench import Bench
from tlsweep.jobs.line import quoted
from tlsweep.registry import INSIDE

Overrides = tuple[str, ...]


def chosen_by(bench: Bench, plain: Sequence[str]) -> list[Overrides]:
    """The overrides that choose each of ``sweep.sources``; one empty one where there are none.

    Raises Refusal for an entry that chooses nothing, or twice the same.
    """
    config = bench.compose(plain)
    listed = OmegaConf.select(config, "sweep.sources")
    if not isinstance(listed, ListConfig) or not listed:
        return [()]  # what is no list is told with the other settings
    faults: list[Fault] = []
    found = [_of_entry(bench, config, entry, faults) for entry in listed]
    for twice in (o for o, count in Counter(found).items() if count > 1 and o):
        rule = "each source is compared once"
        faults.append(Fault(f"sweep.sources: {' '.join(twice)} twice", rule, "leave one out"))
    if faults:
        raise Refusal(*faults)
    return found


def _of_entry(bench: Bench, config: DictConfig, entry: Any, faults: list[Fault]) -> Overrides:
    if isinstance(entry, DictConfig):
        given = {str(key): value for key, value in entry.items()}
        name = given.pop("name", None)
        group = () if name is None else (f"source={name}",)
        return (*group, *(f"source.{key}={_text(value)}" for key, value in given.items()))
    options = [option for option in bench.options_of("source") if option not in INSIDE]
    if entry in options:
        return (f"source={entry}",)
    if "model" in config.source:
        return (f"source.model={_text(entry)}",)
    near = nearest(str(entry), options)
    rule = f"an entry is an option of source ({', '.join(options)}), or a model of source=NAME"
    mend = f"sweep.sources=[{near}]" if near else f"source=torchvision 'sweep.sources=[{entry}]'"
    faults.append(Fault(f"sweep.sources: {entry}", rule, mend))
    return ()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w.-]+", value) else quoted(value)
    return "null" if value is None else str(value).lower() if value in (True, False) else str(value)
