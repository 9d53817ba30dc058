"""Frozen values shared by every room. Holds no logic beyond what the values themselves mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

VERSION = "0.1.0"  # pyproject.toml has the same

NAMED_CODE = "TLSWEEP_BUILD"
"""The variable of the environment that holds what code a command line has named, by commas."""

Resampling = Literal["pillow", "torch"]
"""Who resizes a target's images: they differ by a level or two of 255."""

Levels = tuple[float, float]
"""The numbers that become black and white, 0 and 255, in images of more than 8 bits."""

Interpolation = Literal["bilinear", "bicubic", "nearest"]
"""How pixels are made of others where an image is resized."""


class BlockState(StrEnum):
    """What a plan does with one block of the source (README, "The plan")."""

    FROZEN = "frozen"
    ADAPTED = "adapted"  # frozen, but for a low-rank addition to its weights
    TUNED = "tuned"
    FRESH = "fresh"
    DROPPED = "dropped"


class Split(StrEnum):
    """Parts of the target data. The pool is cut into fit and select, in one way a fold."""

    POOL = "pool"  # may train and choose: all but the report split
    FIT = "fit"  # trains
    SELECT = "select"  # chooses: what a fold holds out
    REPORT = "report"  # is quoted


class Stage(StrEnum):
    """Why a trial is run."""

    SINGLE = "single"  # python -m tlsweep
    GRID = "grid"  # lists on the command line
    SURVEY = "survey"  # found in the one pass over all cut points
    FIRST = "first"  # named by the config, before the sampler is asked
    SEARCH = "search"  # asked for by the study's sampler
    CONFIRM = "confirm"  # a replicate: another seed, another fold
    FINAL = "final"  # trained on the whole pool, scored on the report split


@dataclass(frozen=True)
class ImageSpec:
    """What a source wants to see: the preprocessing that every target is brought to.

    channels: 1 or 3; size: height and width in pixels; mean, std: per channel, for inputs 0..1;
    resize: length in pixels that the shorter side is brought to before the centre crop of ``size``
    (``size`` where the source wants no crop); interpolation: how it is resized; squash: whether
    both sides are brought to ``resize``, whatever the image's shape.
    """

    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int
    interpolation: Interpolation = "bilinear"
    squash: bool = False


Encode = Callable[[Sequence[str]], tuple[Any, Any]]
"""Texts to tokens int64 [n, length] and a mask bool [n, length], True where a token is one."""


@dataclass(frozen=True)
class TokenSpec:
    """What a source of text wants to see: the tokens that every target's texts are brought to.

    tokenizer: what names it and its vocabulary, as a fingerprint does; vocabulary: how many tokens
    it knows; length: tokens that a text is cut, or filled up, to; encode: the tokenizer itself;
    lengths: how many tokens each text has before it is cut; unknown: of all tokens of texts how
    many it does not know, and how many there are; None where that is not known.
    """

    tokenizer: str
    vocabulary: int
    length: int
    encode: Encode = field(repr=False, compare=False)
    lengths: Callable[[Sequence[str]], Sequence[int]] | None = field(
        default=None, repr=False, compare=False
    )
    unknown: Callable[[Sequence[str]], tuple[int, int]] | None = field(
        default=None, repr=False, compare=False
    )


InputSpec = ImageSpec | TokenSpec
"""What a source wants to see of each example."""
