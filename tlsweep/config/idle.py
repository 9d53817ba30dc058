"""Settings that a command line gives and that would change nothing beside the others."""

from __future__ import annotations

from collections.abc import Sequence

from tlsweep.config.settings import Settings
from tlsweep.errors import Fault, Refusal

_OF_ADAPT = ("plan.rank", "plan.scale")
_OF_AUGMENT = ("train.views", "train.crop", "train.flip")


def refuse_idle(settings: Settings, overrides: Sequence[str]) -> None:
    """Raise Refusal for settings of one plan that have no effect, so that nobody compares them.

    overrides: of the command line; what a file of conf/ says is a default, and may be idle.
    """
    faults = []
    for override in overrides:
        key = override.lstrip("+").split("=")[0]
        if key in _OF_ADAPT and settings.plan.adapt is None:
            rule = f"{key} is of what plan.adapt adds, which is null"
            faults.append(Fault(override, rule, f"plan.adapt=all {override}"))
        if key in _OF_AUGMENT and settings.train.augment == "none":
            rule = f"{key} is of train.augment, which is none"
            faults.append(Fault(override, rule, f"train.augment=views {override}"))
        if key == "train.views" and settings.train.augment == "live":
            rule = "each epoch of train.augment=live draws its own views"
            faults.append(Fault(override, rule, "leave it out, or train.augment=views"))
    if faults:
        raise Refusal(*faults)
