"""tlsweep: how much of a pre-trained model should I keep for my task?

``python -m tlsweep -m`` answers it from the command line. From Python::

    cuts = tlsweep.cut_points(model, example)
    prefix, suffix = tlsweep.split(model, cuts.resolve("layer3"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlsweep.cut import CutPoint, CutPoints, cut_points, prefix_costs, split

__version__ = "0.1.0"
__all__ = ["CutPoint", "CutPoints", "__version__", "cut_points", "prefix_costs", "split"]


def __getattr__(name: str) -> Any:
    # torch takes over a second to import, and ``--help`` does not need it
    if name in __all__:
        import tlsweep.cut

        return getattr(tlsweep.cut, name)
    raise AttributeError(f"module 'tlsweep' has no attribute {name!r}")
