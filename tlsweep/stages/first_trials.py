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


def inherited(plain: Sequence[str], overrides: Sequence[str], *, plan: bool = True) -> list[str]:
    """What a trial takes of the command line: all, but for a group that it chooses itself.

    ``plan=scratch`` beside the command line's ``plan.keep=layer3`` would not be scratch, nor
    would ``source=glyphs`` know what ``source.model`` is. plan: whether that holds for the plan.
    """
    groups = ("plan", "source") if plan else ("source",)
    chosen = [group for group in groups if any(o.startswith(f"{group}=") for o in overrides)]
    out = tuple(start for group in chosen for start in (f"{group}=", f"{group}."))
    return [o for o in plain if not o.lstrip("+").startswith(out)]
