"""A source of another package: a small network, here with weights that nobody trained."""

from typing import Any, Literal

from tlsweep.section import SourceSettings
from tlsweep.source import Source
from tlsweep.source.base import private_rng
from tlsweep.terms import ImageSpec

IMAGE = ImageSpec(channels=1, size=16, mean=(0.5,), std=(0.5,), resize=16)


class Settings(SourceSettings):
    name: Literal["tiny"]
    width: int


class Tiny(Source):
    def _build(self) -> Any:
        return architecture(width=int(self.name.split()[1]))[0]


def check(*, width: int, progress: Any = None) -> None: ...
def open(*, width: int, progress: Any = None) -> Tiny:
    with private_rng(0):
        weights = architecture(width=width)[0].state_dict()
    return Tiny(f"tiny {width}", IMAGE, "nothing", "tiny", weights)


def architecture(*, width: int) -> Any:
    from torch import nn, zeros

    convs = [nn.Sequential(nn.Conv2d(i, width, 3), nn.ReLU()) for i in (1, width, width)]
    return nn.Sequential(*convs, nn.Flatten(), nn.Linear(100 * width, 3)), zeros(2, 1, 16, 16)
