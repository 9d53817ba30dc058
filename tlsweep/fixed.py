"""The trials that come first in a search, whatever its sampler thinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tlsweep.question import Question
from tlsweep.study import space
from tlsweep.study.bench import Bench
from tlsweep.study.ledger import Item

SHARE = 2 / 3  # of the budget; the rest is the sampler's, or nothing would be searched


def items(
    entries: Sequence[Mapping[str, Any]], bench: Bench, question: Question, n_trials: int
) -> list[Item]:
    """``sweep.fixed`` written out, each entry being a grid of its own.

    Together they take at most two thirds of ``n_trials``: the long entries (all cut points of a
    large source) are thinned evenly, the short ones stay whole.
    """
    grids = []
    for entry in entries:
        parsed = space.parse([f"{key}={value}" for key, value in entry.items()], bench.parser())
        grids.append(space.grid(parsed, lambda: question.cuts.names))
    return [Item.of(overrides) for grid in thin(grids, int(SHARE * n_trials)) for overrides in grid]


def thin(grids: Sequence[Sequence[list[str]]], most: int) -> list[list[list[str]]]:
    """At most ``most`` elements of several lists, evenly from the long ones; order is kept."""
    kept: dict[int, list[list[str]]] = {}
    left = most
    by_length = sorted(range(len(grids)), key=lambda i: len(grids[i]))
    for done, i in enumerate(by_length):
        count = min(len(grids[i]), left // (len(grids) - done))
        left -= count
        # from the first to the last, so that both ends of a curve are there
        places = [round(k * (len(grids[i]) - 1) / max(1, count - 1)) for k in range(count)]
        kept[i] = [grids[i][place] for place in places]
    return [kept[i] for i in range(len(grids))]
