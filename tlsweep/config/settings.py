"""The whole of conf/config.yaml as checked, plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny
from pydantic_core import PydanticCustomError

from tlsweep.config.sections import (
    FeaturesSettings,
    PlanSettings,
    SweepSettings,
    TrainedOn,
    TrialIdentity,
)
from tlsweep.section import (
    AS_TYPED,
    EngineSettings,
    Place,
    RecordSettings,
    ScheduleSettings,
    Section,
    SourceSettings,
    TargetSettings,
    TaskSettings,
    Whole,
)
from tlsweep.terms import Stage
from tlsweep.train.settings import TrainSettings


def _folder(value: Any) -> Any:
    if isinstance(value, str) and "?" in value:  # it would end the path in a database's URL
        raise PydanticCustomError("folder", "the value is a folder without ? in its path")
    return value


def _resolved(value: str) -> str:
    return str(Path(value).resolve())  # addresses of records and databases hold it


# what lies in output_dir beside the studies' folders
_TAKEN = ("optuna.db", "mlflow.db", "artifacts")


def _free(value: str) -> str:
    if value.startswith(_TAKEN[:2]) or value == _TAKEN[2]:
        rule = f"a study has a folder of its own in output_dir, where {', '.join(_TAKEN)} lie too"
        raise PydanticCustomError("taken", rule)
    return value


StudyName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100),
    AfterValidator(_free),
]


class Opening(Section):
    """What a question is opened from: source, target, task, and whether all labels may train.

    untrained: whether the source has no weights yet.
    """

    source: SerializeAsAny[SourceSettings]
    target: SerializeAsAny[TargetSettings]
    task: SerializeAsAny[TaskSettings]
    joined: bool = False
    untrained: bool = False


class Settings(Section):
    """The whole of conf/config.yaml, checked."""

    source: SerializeAsAny[SourceSettings]
    target: SerializeAsAny[TargetSettings]
    task: SerializeAsAny[TaskSettings]
    plan: PlanSettings
    schedule: SerializeAsAny[ScheduleSettings]
    train: TrainSettings
    sweep: SweepSettings
    features: FeaturesSettings
    record: SerializeAsAny[RecordSettings]
    engine: SerializeAsAny[EngineSettings]
    study: StudyName | None
    output_dir: Annotated[Place, BeforeValidator(_folder), AfterValidator(_resolved)]
    seed: Annotated[Whole, Field(ge=0, lt=2**31)]
    fold: Annotated[Whole, Field(ge=0)] | None
    train_on: TrainedOn
    keep_weights: bool
    stage: Stage
    trial: TrialIdentity | None

    @property
    def opening(self) -> Opening:
        """What the question is opened from."""
        every = self.train_on == "all"
        return Opening(source=self.source, target=self.target, task=self.task, joined=every)

    @property
    def study_name(self) -> str:
        """``study``, or SOURCE_to_TARGET where none was given."""
        return self.study or f"{self.source.title}_to_{self.target.title}"

    def asked(self) -> dict[str, Any]:
        """All settings of a trial, as flat dotted keys, with paths as they were typed."""
        return dict(flatten(self._dumped()))

    def _dumped(self) -> dict[str, Any]:
        return self.model_dump(
            mode="json",
            include={"source", "target", "task", "plan", "schedule", "train", "seed"},
            context={AS_TYPED: True},  # the same question on another machine
        )

    def question(self) -> dict[str, Any]:
        """What must stay the same for two trials to be comparable, as flat dotted keys."""
        fixed = self._dumped()
        # these say how and where, not what; what is read there has a fingerprint of its own
        how = (
            "accelerator", "devices", "strategy", "num_workers", "resume", "cache_dir", "root",
            "download", "ram_gb", "disk_gb", "shift", "out_of_memory",
        )  # fmt: skip
        for group in ("source", "target", "train"):
            for key in how:
                fixed[group].pop(key, None)
        return dict(flatten(fixed))


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
