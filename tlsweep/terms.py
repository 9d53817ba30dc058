"""Frozen values shared by every room. Holds no logic beyond what the values themselves mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Resampling = Literal["pillow", "torch"]
"""Who resizes a target's images: they differ by a level or two of 255."""


class BlockState(StrEnum):
    """What a plan does with one block of the source (README, "The plan")."""

    FROZEN = "frozen"
    TUNED = "tuned"
    FRESH = "fresh"
    DROPPED = "dropped"


class Split(StrEnum):
    """The three disjoint parts of the target data."""

    FIT = "fit"  # trains
    SELECT = "select"  # chooses
    REPORT = "report"  # is quoted


class Stage(StrEnum):
    """Why a trial is run."""

    SINGLE = "single"  # python -m tlsweep
    GRID = "grid"  # lists on the command line
    SURVEY = "survey"  # found in the one pass over all cut points
    SEARCH = "search"  # asked for by the study's sampler
    CONFIRM = "confirm"  # a replicate, scored on the report split


@dataclass(frozen=True)
class ImageSpec:
    """What a source wants to see: the preprocessing that every target is brought to.

    channels: 1 or 3; size: height and width in pixels; mean, std: per channel, for inputs 0..1;
    resize: length in pixels that the shorter side is brought to before the centre crop of ``size``
    (``size`` where the source wants no crop).
    """

    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int
