"""A target of another package: how good the mood of a text is, from -9 to 9."""

from typing import Any, Literal

import numpy as np

from tlsweep.section import TargetSettings
from tlsweep.target.texts import TextTarget
from tlsweep.task import Numbers

WORDS = ("good", "bad", "the", "a day", "rain", "sun")
MOOD = (1, -1, 0, 0, 0, 0)


class Settings(TargetSettings):
    name: Literal["mood"]
    texts: int


def check(*, texts: int, progress: Any = None) -> None: ...
def open(*, texts: int, progress: Any = None) -> TextTarget:
    draw = np.random.default_rng(0)
    drawn = [draw.integers(len(WORDS), size=draw.integers(3, 10)) for _ in range(texts)]
    moods = np.array([[sum(MOOD[word] for word in words)] for words in drawn], np.float64)
    said = [" ".join(WORDS[word] for word in words) for words in drawn]
    task = Numbers(1, spread=float(moods.std()), unit="points")
    return TextTarget("mood", ("mood",), said, moods, task=task)
