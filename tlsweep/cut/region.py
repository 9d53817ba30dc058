"""Regions: the blocks that a user wrote by name, by number, from one to another, or as a list."""

from __future__ import annotations

from collections.abc import Sequence

from tlsweep.cut.points import CutPoints
from tlsweep.errors import Fault, Refusal, unknown_name

TO = ".."


def region(cuts: CutPoints, written: str | int | Sequence[str | int], where: str) -> list[int]:
    """The blocks of a region, counted from 0, in their order.

    written: a block by the name or the index of the cut point where it ends (``block3``, ``3``), a
    stage of several blocks (``layer3``), from one to another with both ends (``block3..block5``,
    ``8..14``), ``all``, or a list of these; where: the config key, for the message.
    Raises Refusal.

    Example: ``region(cuts, "block2..block3", "plan.tune")`` is ``[1, 2]``.
    """
    parts = [written] if isinstance(written, str | int) else written
    found = {block for part in parts for block in _part(cuts, str(part).strip(), where)}
    return sorted(found)


def _part(cuts: CutPoints, text: str, where: str) -> Sequence[int]:
    if text == "all":
        return range(cuts.n_blocks)
    first, to, last = text.partition(TO)
    if not to:
        return _named(cuts, text, where)
    low, high = _named(cuts, first.strip(), where)[0], _named(cuts, last.strip(), where)[-1]
    if low > high:
        rule = "a region goes from a block to one above it"
        raise Refusal(Fault(f"{where}={text}", rule, f"{where}={last}{TO}{first}"))
    return range(low, high + 1)


def _named(cuts: CutPoints, name: str, where: str) -> Sequence[int]:
    """One block, or all blocks of a stage: of those whose names begin with it and a dot."""
    names = cuts.names[1:]
    if name in names:
        return [names.index(name)]
    if stage := [i for i, block in enumerate(names) if block.startswith(f"{name}.")]:
        return stage
    if name != "all" and (point := cuts.called(name)) and point.index:
        return [point.index - 1]
    if name.isdigit() and 1 <= int(name) <= len(names):
        return [int(name) - 1]
    if name.lstrip("-").isdigit():
        rule = f"blocks are counted from 1 to {len(names)}"
        raise Refusal(Fault(f"{where}={name}", rule, f"{where}={names[0]}{TO}{names[-1]}"))
    raise Refusal(unknown_name("block", where, name, list(names)))
