"""Target names, and the one way to open them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from tlsweep.errors import Fault, Refusal, nearest, unknown_name
from tlsweep.target.base import Target

# Modules, not classes: each is imported when its name is asked for. Each has check and open; one
# that serves several names takes the name first.
_MODULES = {
    "digits": "digits",
    "mnist": "downloaded",
    "fashion_mnist": "downloaded",
    "cifar10": "downloaded",
    "cifar100": "downloaded",
    "image_folder": "image_folder",
    "glyph_angle": "glyphs",
    "glyph_attributes": "glyphs",
    "held": "held",
}


def target_names() -> tuple[str, ...]:
    """Names that ``open_target`` knows."""
    return tuple(_MODULES)


def check_target(name: str, **options: object) -> None:
    """Raise Refusal with every fault of a target's name and options; decode no image."""
    _function("check", name, options)(**options)


def open_target(name: str, **options: object) -> Target:
    """Open the target ``name``.

    Options of all: ram_gb (4.0), progress. Of "mnist", "fashion_mnist", "cifar10", "cifar100":
    root, download. Of "image_folder": root. Raises Refusal for an unknown name or option, and
    for every fault of the options and of the data.
    """
    opened: Target = _function("open", name, options)(**options)
    return opened


def _function(what: str, name: str, options: dict[str, object]) -> Callable[..., Any]:
    if name not in _MODULES:
        raise Refusal(unknown_name("target", "target", name, _MODULES))
    module = importlib.import_module(f"tlsweep.target.{_MODULES[name]}")
    function: Callable[..., Any] = getattr(module, what)
    parameters = inspect.signature(function).parameters
    if "dataset_name" in parameters:
        function = partial(function, name)
    known = [key for key in parameters if key != "dataset_name"]
    faults = [
        Fault(
            f"target.{key}=...",
            f"options of {name} are: {', '.join(known)}",
            f"target.{nearest(key, known) or known[0]}=...",
        )
        for key in options
        if key not in known
    ]
    if faults:
        raise Refusal(*faults)
    return function
