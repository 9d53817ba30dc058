"""Cut points of a model, the parts between them, and what each prefix costs."""

from tlsweep.cut.anatomy import PrefixCost
from tlsweep.cut.called import CalledPart
from tlsweep.cut.chain import LeftOut, through
from tlsweep.cut.classified import Classified, classified
from tlsweep.cut.cost import prefix_costs
from tlsweep.cut.ending import ending
from tlsweep.cut.fold import folded
from tlsweep.cut.layered import layered
from tlsweep.cut.layers import BlockLayers, block_layers, matrices
from tlsweep.cut.parts import Section
from tlsweep.cut.points import CutPoint, CutPoints, Level, cut_points
from tlsweep.cut.region import region
from tlsweep.cut.split import block_of, section, split
from tlsweep.cut.table import rows

__all__ = [
    "BlockLayers",
    "CalledPart",
    "Classified",
    "CutPoint",
    "CutPoints",
    "LeftOut",
    "Level",
    "PrefixCost",
    "Section",
    "block_layers",
    "block_of",
    "classified",
    "cut_points",
    "ending",
    "folded",
    "layered",
    "matrices",
    "prefix_costs",
    "region",
    "rows",
    "section",
    "split",
    "through",
]
