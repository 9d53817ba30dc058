"""The trials that come first in a search, whatever its sampler thinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlsweep.jobs import grammar
from tlsweep.jobs.bench import Bench
from tlsweep.question import Question


def grids(
    entries: Sequence[Mapping[str, Any]], bench: Bench, question: Question
) -> list[list[list[str]]]:
    """``sweep.fixed`` written out: each entry is a grid of overrides."""
    found = []
    for entry in entries:
        parsed = grammar.parse([f"{key}={value}" for key, value in entry.items()], bench.parser())
        found.append(grammar.grid(parsed, lambda rest, key: question.named(key)))
    return found


def inherited(plain: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """What a trial wanted by name takes of the command line: all, but for the plan if it has one.

    ``plan=scratch`` beside the command line's ``plan.keep=layer3`` would not be scratch.
    """
    if not any(override.startswith("plan=") for override in overrides):
        return list(plain)
    return [o for o in plain if not o.lstrip("+").startswith(("plan=", "plan."))]
