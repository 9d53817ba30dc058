"""Cut points of a model, the parts between them, and what each prefix costs."""

from tlsweep.cut.cost import PrefixCost, prefix_costs
from tlsweep.cut.fold import folded
from tlsweep.cut.parts import Section
from tlsweep.cut.points import CutPoint, CutPoints, Level, cut_points
from tlsweep.cut.split import section, split
from tlsweep.cut.table import rows

__all__ = [
    "CutPoint",
    "CutPoints",
    "Level",
    "PrefixCost",
    "Section",
    "cut_points",
    "folded",
    "prefix_costs",
    "rows",
    "section",
    "split",
]
