"""A source's architecture before anybody has trained it: what ``pretrain`` begins from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tlsweep.errors import Fault, Refusal
from tlsweep.source.base import Source, private_rng
from tlsweep.source.registry import input_spec, open_architecture

if TYPE_CHECKING:
    from torch import nn

# where the weights of a source are written; here there are none
WEIGHTS = ("weights", "checkpoint", "part")


class Untrained(Source):
    """The architecture of the source ``name``, with random weights."""

    def __init__(self, name: str, title: str, options: dict[str, Any]) -> None:
        self._name, self._options = name, options
        with private_rng(0):
            weights = self._build().state_dict()
        spec = input_spec(name, **options)
        super().__init__(title, spec, "nothing yet", f"{name} {sorted(options.items())}", weights)

    def _build(self) -> nn.Module:
        # not by open_architecture, which seeds by itself: fresh weights follow from the seed
        from tlsweep.registry import component

        model: nn.Module = component("source", self._name).architecture(**self._options)[0]
        return model


def untrained(name: str, title: str, **options: Any) -> Untrained:
    """The source ``name`` without weights.

    options: of the source; title: what reports call it. Raises Refusal for an unknown name, option
    or architecture, and where weights are given.
    """
    refuse_weights(options)
    open_architecture(name, **options)  # refused here, with all that is wrong
    return Untrained(name, title, options)


def refuse_weights(options: Mapping[str, Any]) -> None:
    """Raise Refusal where options of a source say where weights are; loads no torch."""
    rule = "pretrain trains a network from random weights"
    given = [key for key in WEIGHTS if options.get(key) is not None]
    if given:
        raise Refusal(*(Fault(f"source.{k}={options[k]}", rule, "leave it out") for k in given))
