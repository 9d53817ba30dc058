"""The table of a model's cut points, as values that JSON knows."""

from __future__ import annotations

from collections.abc import Sequence

from tlsweep.cut.anatomy import PrefixCost
from tlsweep.cut.points import CutPoint


def rows(
    cuts: Sequence[CutPoint], costs: Sequence[PrefixCost]
) -> list[dict[str, int | str | list[int] | list[str]]]:
    """One row of JSON values for every cut point, for a table of them.

    way: how it was found: "fx" (traced), "calls" (of modules), "layers" (that the source names);
    prefix_only: whether no part can start there.
    """
    return [
        {
            "index": cut.index,
            "name": cut.name,
            "aliases": list(cut.aliases),
            "shape": list(cut.shape),
            "parameters": cost.parameters,
            "flops": cost.flops,
            "activation_bytes": cost.activation_bytes,
            "way": cut.anatomy.way,
            "prefix_only": not cut.starts,
        }
        for cut, cost in zip(cuts, costs, strict=True)
    ]
