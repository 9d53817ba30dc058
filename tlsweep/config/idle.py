"""Settings that a command line gives and that would change nothing beside the others."""

from __future__ import annotations

from collections.abc import Sequence

from tlsweep.config.settings import Settings
from tlsweep.errors import Fault, Refusal
from tlsweep.registry import names

_OF_ADAPT = ("plan.rank", "plan.scale")
_OF_AUGMENT = ("train.views", "train.crop", "train.flip")


def refuse_idle(settings: Settings, overrides: Sequence[str]) -> None:
    """Raise Refusal for settings of one plan that have no effect, so that nobody compares them.

    overrides: of the command line; what a file of conf/ says is a default, and may be idle.
    """
    faults = [*idle(settings, overrides), *_idle_alone(settings, overrides)]
    if faults:
        raise Refusal(*faults)


def idle(settings: Settings, overrides: Sequence[str]) -> list[Fault]:
    """Those of ``overrides`` that change nothing of a plan with these settings."""
    faults = []
    for override in overrides:
        key, train = _key(override), settings.train
        if key in _OF_ADAPT and settings.plan.adapt is None:
            rule = f"{key} is of what plan.adapt adds, which is null"
            faults.append(Fault(override, rule, f"plan.adapt=all {override}"))
        if key in _OF_AUGMENT and train.augment == "none":
            rule = f"{key} is of train.augment, which is none"
            faults.append(Fault(override, rule, f"train.augment=views {override}"))
        if key == "train.views" and train.augment == "live":
            rule = "each epoch of train.augment=live draws its own views"
            faults.append(Fault(override, rule, "leave it out, or train.augment=views"))
        if key == "train.head_sizes" and train.head_sizes and not _is_sized(train.head):
            rule = f"train.head={train.head} has no hidden layers whose widths are chosen"
            sized = next(name for name in names("head") if _is_sized(name))
            faults.append(Fault(override, rule, f"train.head={sized} {override}"))
    return faults


def _idle_alone(settings: Settings, overrides: Sequence[str]) -> list[Fault]:
    """The same of what a sweep would still use: its survey's heads are linear in any case."""
    from tlsweep.heads.whole import reads

    head = settings.train.head
    return [
        Fault(
            override,
            f"train.pool is of heads on pooled features; train.head={head} reads what is there"
            " before it is pooled",
            "leave it out, or train.head=linear or train.head=mlp",
        )
        for override in overrides
        if _key(override) == "train.pool" and reads(head)
    ]


def _is_sized(head: str) -> bool:
    from tlsweep.heads.head import hidden_sizes

    return bool(hidden_sizes(head))


def _key(override: str) -> str:
    return override.lstrip("+").split("=")[0]
