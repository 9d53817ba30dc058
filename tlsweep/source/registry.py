"""The one way to open a source by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tlsweep.errors import Fault, Refusal, nearest
from tlsweep.registry import component
from tlsweep.source.base import Source, private_rng
from tlsweep.terms import InputSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlsweep.cut import CutPoints, Level


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
    """The model of the source ``name`` with random weights, in eval mode, and an example batch.

    Needs no weights: for questions about the architecture alone. Leaves the global random state as
    it was. Raises Refusal for an unknown name, option or model.
    """
    module = _module(name, options)
    with private_rng(0):
        model, example = module.architecture(**options)
    return model.eval(), example


def input_spec(name: str, **options: object) -> InputSpec:
    """What the source ``name`` wants to see, without its weights.

    Raises Refusal for an unknown name or option, and for a source that does not say.
    """
    module = _module(name, options)
    if not hasattr(module, "spec"):
        rule = f"a source of texts has spec(**options), its tokenizer; {module.__name__} has none"
        raise Refusal(Fault(f"source={name}", rule, "add it there"))
    found: InputSpec = module.spec(**options)
    return found


def carry_files(name: str, folder: Path, **options: object) -> dict[str, str]:
    """Copy the files that ``open_architecture`` and ``input_spec`` read into ``folder``.

    Returns each option that names such files, as it is written for ``carried``. Empty where they
    read none. Raises Refusal for an unknown name or option.
    """
    module = _module(name, options)
    if not hasattr(module, "carry"):
        return {}
    found: dict[str, str] = module.carry(folder, **options)
    return found


def carried(folder: Path, written: Mapping[str, str]) -> dict[str, str]:
    """The options of a source whose files ``carry_files`` put into ``folder``.

    written: option to a path seen from there, perhaps after a word and a colon. Raises ValueError
    for a path that leads out of the folder.
    """
    inside, found = folder.resolve(), {}
    for option, value in written.items():
        kind, sign, name = value.rpartition(":")
        path = (inside / name).resolve()
        if not path.is_relative_to(inside):
            raise ValueError(f"{option}={value} leads out of the folder")
        found[option] = f"{kind}{sign}{path}"
    return found


def dissect(name: str, model: nn.Module, example: Tensor, level: Level = "block") -> CutPoints:
    """The cut points of the source ``name``: as its module's own ``dissect`` says, or traced.

    Raises Refusal where there are none, or none of that level.
    """
    from tlsweep.cut import cut_points

    own = getattr(component("source", name), "dissect", None)
    if own is None:
        return cut_points(model, example, level=level)
    if "level" in _option_names(own):
        of_level: CutPoints = own(model, example, level)
        return of_level
    if level != "block":
        rule = f"source={name} says itself where it is cut, block by block"
        raise Refusal(Fault(f"level={level}", rule, "level=block"))
    found: CutPoints = own(model, example)
    return found


def _module(name: str, options: dict[str, object]) -> ModuleType:
    module = component("source", name)
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
