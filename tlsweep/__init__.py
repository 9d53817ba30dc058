"""tlsweep: how much of a pre-trained model should I keep for my task?

``python -m tlsweep -m`` answers it from the command line. From Python::

    verdict = tlsweep.sweep("mobilenet_v2", "DIR")

Its parts alone::

    cuts = tlsweep.cut_points(model, example)
    prefix, suffix = tlsweep.split(model, cuts.resolve("layer3"))

and what a sweep chose is used with::

    model = tlsweep.load_model("outputs/STUDY/model")
    probabilities = model.predict(["image.jpg"])

Freeze schedules in a LightningModule of your own::

    pl.Trainer(callbacks=[tlsweep.Thaw(blocks=[net.layer3, net.layer4])])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tlsweep.terms import VERSION

if TYPE_CHECKING:
    from tlsweep.api import sweep
    from tlsweep.cut import CutPoint, CutPoints, cut_points, prefix_costs, split
    from tlsweep.model import TakenModel, load_model
    from tlsweep.train.thaw import Thaw

__version__ = VERSION
__all__ = [
    "CutPoint",
    "CutPoints",
    "TakenModel",
    "Thaw",
    "__version__",
    "cut_points",
    "load_model",
    "prefix_costs",
    "split",
    "sweep",
]
_ROOMS = {
    "sweep": "tlsweep.api",
    "TakenModel": "tlsweep.model",
    "load_model": "tlsweep.model",
    "Thaw": "tlsweep.train.thaw",
}


def __getattr__(name: str) -> Any:
    # torch takes over a second to import, and ``--help`` does not need it
    if name in __all__:
        return getattr(importlib.import_module(_ROOMS.get(name, "tlsweep.cut")), name)
    raise AttributeError(f"module 'tlsweep' has no attribute {name!r}")
