"""What kind of work a step does: it decides which steps share a cut point."""

from __future__ import annotations

from enum import Enum
from typing import Any

from torch import nn

from tlsweep.cut.observe import Sight
from tlsweep.cut.program import Step, attribute

_LIGHT_WORDS = ("norm", "dropout", "drop_path", "droppath", "stochasticdepth", "identity")


class Work(Enum):
    """LIGHT joins the cut point before it, MAIN makes a new one, POOL opens the pooled one."""

    LIGHT = 0
    POOL = 1
    MAIN = 2


def kind_of_work(step: Step, root: nn.Module, sight: Sight) -> Work:
    """Norm, activation, dropout and layout are light; what multiplies matrices or max-pools is not.

    sight: the step's value, seen with FLOPs counted. Average pooling is light, too: after it there
    is no more to choose from than before.
    """
    if step.op in ("get_attr", "constant"):
        return Work.LIGHT
    module = attribute(root, step.target) if step.op == "call_module" else None
    return kind_of(_name(step, module), module, sight.flops > 0)


def kind_of(name: str, module: nn.Module | None, multiplies: bool) -> Work:
    """The kind of what has this name. multiplies: whether it multiplies matrices."""
    if "adaptive" in name and "pool" in name:
        return Work.POOL
    if multiplies or ("pool" in name and "avg" not in name):
        return Work.MAIN
    if module is None or _is_light(module, name):
        return Work.LIGHT
    return Work.MAIN if any(True for _ in module.parameters()) else Work.LIGHT


def _name(step: Step, module: nn.Module | None) -> str:
    target: Any = step.target if module is None else type(module)
    return str(getattr(target, "__name__", target)).lower()


def _is_light(module: nn.Module, name: str) -> bool:
    activation = type(module).__module__ == "torch.nn.modules.activation"
    return activation or any(word in name for word in _LIGHT_WORDS)
