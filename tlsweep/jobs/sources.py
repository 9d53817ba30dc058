"""How a command line chooses each of the sources that one study compares: ``sweep.sources``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from tlsweep.errors import Fault, Refusal, nearest, unknown_name
from tlsweep.jobs.bench import Bench
from tlsweep.jobs.line import quoted
from tlsweep.registry import INSIDE, section

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
    options = [option for option in bench.options_of("source") if option not in INSIDE]
    if isinstance(entry, DictConfig):
        given = {str(key): value for key, value in entry.items()}
        name = given.pop("name", None)
        if name is not None and name not in options:
            faults.append(unknown_name("source", "sweep.sources: name", str(name), options))
            return ()
        known = section("source", name or config.source.name).model_fields
        faults += [_unknown(key, list(known)) for key in given if key not in known]
        group = () if name is None else (f"source={name}",)
        return (*group, *(f"source.{key}={_text(value)}" for key, value in given.items()))
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


def _unknown(key: str, known: Sequence[str]) -> Fault:
    near = nearest(key, known)
    rule = f"an entry with settings has some of: {', '.join(known)}"
    return Fault(f"sweep.sources: {key}", rule, f"{near}: VALUE" if near else "leave it out")
