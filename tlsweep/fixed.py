"""The trials that come first in a search, whatever its sampler thinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlsweep.question import Question
from tlsweep.study import space
from tlsweep.study.bench import Bench

SHARE = 2 / 3  # of the budget; the rest is the sampler's, or nothing would be searched


def grids(
    entries: Sequence[Mapping[str, Any]], bench: Bench, question: Question
) -> list[list[list[str]]]:
    """``sweep.fixed`` written out: each entry is a grid of overrides."""
    found = []
    for entry in entries:
        parsed = space.parse([f"{key}={value}" for key, value in entry.items()], bench.parser())
        found.append(space.grid(parsed, lambda rest: question.cuts.names))
    return found


def inherited(plain: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """What a trial wanted by name takes of the command line: all, but for the plan if it has one.

    ``plan=scratch`` beside the command line's ``plan.keep=layer3`` would not be scratch.
    """
    if not any(override.startswith("plan=") for override in overrides):
        return list(plain)
    return [o for o in plain if not o.lstrip("+").startswith(("plan=", "plan."))]


def thin(grids: Sequence[Sequence[list[str]]], n_trials: int) -> list[list[list[str]]]:
    """What fits into two thirds of ``n_trials``, entry by entry, in the order of each.

    The short entries come first and stay whole; of one that does not fit (all cut points of a
    large source) evenly spaced elements are taken, both ends among them.
    """
    kept: dict[int, list[list[str]]] = {}
    left = int(SHARE * n_trials)
    for i in sorted(range(len(grids)), key=lambda i: len(grids[i])):
        count = min(len(grids[i]), left)
        left -= count
        places = [round(k * (len(grids[i]) - 1) / max(1, count - 1)) for k in range(count)]
        kept[i] = [grids[i][place] for place in places]
    return [kept[i] for i in range(len(grids))]
