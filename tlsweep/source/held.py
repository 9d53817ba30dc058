"""The source "held": a network that a Python program holds.

Given to ``tlsweep.sweep(model=...)``. A config names it by a key that this process made: no
config and no recorded run can name code.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

from tlsweep.errors import Fault, Refusal
from tlsweep.section import SourceSettings
from tlsweep.source.base import Progress, Source, fingerprint, private_rng
from tlsweep.terms import ImageSpec

if TYPE_CHECKING:
    from torch import Tensor, nn


class Settings(SourceSettings):
    """conf/source/held.yaml."""

    name: Literal["held"]
    key: str

    @property
    def title(self) -> str:
        """The source's name in file names and records: the network's class."""
        return self.key.rsplit("-", 1)[0]


_HELD: dict[str, tuple[nn.Module, ImageSpec]] = {}


def hold(model: nn.Module, image: ImageSpec) -> str:
    """Hold a network for this process's sweeps. Returns the key that ``source.key`` names it by."""
    kind = type(model).__name__
    key = f"{kind}-{fingerprint(kind, dict(model.state_dict()))}"
    _HELD[key] = copy.deepcopy(model).cpu().eval(), image
    return key


class HeldSource(Source):
    """A copy of the network that was given, and networks of its kind with random weights."""

    def __init__(self, key: str, model: nn.Module, image: ImageSpec) -> None:
        self._model = model
        super().__init__(key.rsplit("-", 1)[0], image, "given from Python", key, model.state_dict())

    def _build(self) -> nn.Module:
        model = copy.deepcopy(self._model)
        for module in model.modules():
            _reset(module)
        return model

    def model(self) -> nn.Module:
        """A copy of the network as it was given, in eval mode."""
        return copy.deepcopy(self._model)

    def fresh(self, seed: int) -> nn.Module:
        """The network with random weights drawn from ``seed`` alone, in eval mode.

        Layers of torch are initialised as torch does; parameters that a module of the user's own
        holds are drawn with the mean and the deviation of the given ones.
        """
        with private_rng(seed):
            return self._build().eval()


def _reset(module: nn.Module) -> None:
    import torch

    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
        return
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
            parameter.normal_(float(parameter.mean()), spread)


def check(*, key: str, progress: Progress | None = None) -> None:
    """Raise Refusal for a key that this process has not made."""
    if key not in _HELD:
        raise Refusal(
            Fault(
                f"source=held source.key={key}",
                "a network that a Python program holds is given by that program",
                "tlsweep.sweep(model=MODEL, target=TARGET) in Python, or another source",
            )
        )


def open(*, key: str, progress: Progress | None = None) -> HeldSource:  # noqa: A001
    """The network that ``key`` names. Raises Refusal where this process has none of it."""
    check(key=key)
    return HeldSource(key, *_HELD[key])


def architecture(*, key: str, progress: Progress | None = None) -> tuple[nn.Module, Tensor]:
    """The network, and an example batch. Raises Refusal where this process has none of it."""
    source = open(key=key)
    return source.model(), source.example()
