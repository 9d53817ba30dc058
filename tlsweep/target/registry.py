"""The one way to open a target by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from tlsweep.errors import Fault, Refusal, nearest
from tlsweep.registry import component
from tlsweep.section import TaskSettings
from tlsweep.target.base import Target


def check_target(name: str, **options: object) -> None:
    """Raise Refusal with every fault of a target's name and options; decode no image."""
    _function("check", name, options)(**options)


def open_target(name: str, **options: object) -> Target:
    """Open the target ``name``.

    Options of all: ram_gb (4.0), progress. Of "mnist", "fashion_mnist", "cifar10", "cifar100":
    root, download. Of "torchvision": dataset, root, download. Of "hf": dataset, config, input,
    label, group, kind, download. Of "image_folder": root. Of "manifest": file, input, label, split,
    group, kind. Of "arrays": file, input, label, kind. Raises Refusal for an unknown name or
    option, and for every fault of the options and of the data.
    """
    opened: Target = _function("open", name, options)(**options)
    return opened


def asked(target: Target, task: TaskSettings) -> Target:
    """The target, of which ``task`` asks something else than it does itself.

    Raises Refusal for an unknown task, and for one that does not suit what is true of its examples.
    """
    other = component("task", task.name).open(target.task, **task.model_dump(exclude={"name"}))
    return target if other is target.task else target.asked(other, task.model_dump_json())


def _function(what: str, name: str, options: dict[str, object]) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(component("target", name), what)
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
