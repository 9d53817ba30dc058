"""The sections of conf/ that stand with no component: the plan, the sweep, the store, the trial."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tlsweep.section import (
    Address,
    Number,
    Place,
    Positive,
    Region,
    Section,
    Share,
    Whole,
    Workers,
    as_region,
)
from tlsweep.train.settings import Penalty


def _cut_text(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        rule = "the value is a cut point: its name, its index, a fraction, all or none"
        raise PydanticCustomError("cut_text", rule)
    return value


CutText = Annotated[int | float | str, BeforeValidator(_cut_text)]


class PlanSettings(Section):
    """conf/plan/*.yaml. Cut points as written: name, alias, index, fraction, all or none.

    tune, adapt, drop: regions, of blocks by name or number; rank, scale: of what plan.adapt adds.
    """

    name: str
    freeze: CutText
    keep: CutText
    regrow: CutText
    weights: Literal["source", "random"]
    tune: Annotated[Region | None, BeforeValidator(as_region)]
    adapt: Annotated[Region | None, BeforeValidator(as_region)]
    drop: Annotated[Region | None, BeforeValidator(as_region)]
    rank: Positive
    scale: Annotated[Number, Field(gt=0, le=1000)]

    @property
    def regions(self) -> dict[str, Region]:
        """The regions that are given, by key."""
        given = {"tune": self.tune, "adapt": self.adapt, "drop": self.drop}
        return {key: region for key, region in given.items() if region is not None}


Minutes = Annotated[Number, Field(gt=0, le=1e5)]
SweepStage = Literal["survey", "search", "confirm"]
_STAGES = (("survey", "search", "confirm"), ("survey",), ("search", "confirm"))
STAGES_RULE = "sweep.stages is " + " or ".join(f"[{', '.join(s)}]" for s in _STAGES)
Control = Literal["scratch", "raw_pixels", "random_features", "feature_extractor", "finetune"]


class ConfirmSettings(Section):
    """sweep.confirm: how the verdict is reached."""

    top: Positive
    seeds: Annotated[Whole, Field(ge=2)]
    splits: Annotated[Whole, Field(ge=0, le=1000)]
    controls: tuple[Control, ...]
    margin: Annotated[Number, Field(ge=0, le=100)]
    confidence: Annotated[Number, Field(gt=0.5, lt=1)]


class SurveySettings(Section):
    """sweep.survey: what is asked of every cut point in one pass."""

    penalties: Annotated[tuple[Penalty, ...], Field(min_length=1)]
    fit_shares: tuple[Share, ...]
    seeds: Positive
    random: bool
    all_cuts: bool


TrainedOn = Literal["pool", "all"]


class SweepSettings(Section):
    """conf/sweep/*.yaml. The keys above ``params`` are those of Hydra's own Optuna sweeper."""

    direction: Literal["maximize"]
    storage: Address | None
    minutes: Minutes | None
    n_trials: Positive
    n_jobs: Workers
    max_failure_rate: Annotated[Number, Field(ge=0, le=1)]
    resume: bool
    code: str | None
    patience: Annotated[Number, Field(gt=0)]
    sampler: dict[str, Any]
    pruner: dict[str, Any]
    sources: tuple[str | dict[str, Any], ...]
    trained_sources: Positive
    pool_sizes: tuple[Positive | Literal["all"], ...]
    params: dict[str, str | None]
    fixed: tuple[dict[str, Any], ...]
    stages: Annotated[tuple[SweepStage, ...], Field(min_length=1)]
    survey: SurveySettings
    explore: Annotated[Number, Field(gt=0, le=1)]
    confirm: ConfirmSettings
    final: TrainedOn

    @model_validator(mode="after")
    def _stages_in_a_row(self) -> SweepSettings:
        if self.stages not in _STAGES:
            raise ValueError(STAGES_RULE)
        return self


class FeaturesSettings(Section):
    """conf/features/*.yaml."""

    budget_gb: Annotated[Number, Field(ge=0)]
    cache_dir: Place | None


class TrialIdentity(Section):
    """Which trial of which study a job is.

    room: seconds that its training may take; None for no limit.
    """

    study: str
    storage: str
    number: Whole
    parent_run: str | None = None
    room: Number | None = None
