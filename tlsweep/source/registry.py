"""Source names, and the one way to open them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from tlsweep.errors import Fault, Refusal, nearest, unknown_name
from tlsweep.source.base import Source

if TYPE_CHECKING:
    from torch import Tensor, nn

# Modules, not classes: a module is imported when its name is asked for, so that a refusal
# for a wrong name does not wait for torch. Each has check(**options) and open(**options).
_MODULES = {
    "glyphs": "tlsweep.source.glyphs",
    "torchvision": "tlsweep.source.zoo",
    "held": "tlsweep.source.held",
}


def source_names() -> tuple[str, ...]:
    """The names that ``open_source`` knows."""
    return tuple(_MODULES)


def check_source(name: str, **options: object) -> None:
    """Raise Refusal with every fault of a source's name and options; do no long work.

    Does what can be done without training, download or reading weights.
    """
    module = _module(name, options)
    module.check(**options)


def open_source(name: str, **options: object) -> Source:
    """The source ``name`` with its weights at hand.

    Options of "glyphs": cache_dir, recipe, progress. Of "torchvision": model, weights, checkpoint,
    image_size, progress. Raises Refusal for an unknown name or option and for every fault of them.
    """
    module = _module(name, options)
    opened: Source = module.open(**options)
    return opened


def open_architecture(name: str, **options: object) -> tuple[nn.Module, Tensor]:
    """The model of the source ``name`` with random weights, and an example batch.

    Needs no weights: for questions about the architecture alone. Raises Refusal for an unknown
    name, option or model.
    """
    module = _module(name, options)
    model, example = module.architecture(**options)
    return model, example


def _module(name: str, options: dict[str, object]) -> ModuleType:
    if name not in _MODULES:
        raise Refusal(unknown_name("source", "source", name, _MODULES))
    module = importlib.import_module(_MODULES[name])
    known = _option_names(module.open)
    faults = [
        Fault(
            f"source.{key}=...",
            f"options of {name} are: {', '.join(known)}",
            f"source.{nearest(key, known) or known[0]}=...",
        )
        for key in options
        if key not in known
    ]
    if faults:
        raise Refusal(*faults)
    return module


def _option_names(function: Callable[..., object]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)
