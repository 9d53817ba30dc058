"""Cut points of a model, the parts between them, and what each prefix costs."""

from tlsweep.cut.points import CutPoint, CutPoints, cut_points

__all__ = ["CutPoint", "CutPoints", "cut_points"]
