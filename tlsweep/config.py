"""The schema of conf/, and the only reader of OmegaConf: below this door all is plain values.

``read`` turns a composed config into Settings and reports every fault at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tlsweep import registry
from tlsweep.errors import Fault, Refusal, nearest, unknown_name
from tlsweep.section import (
    Number,
    Place,
    Positive,
    Rate,
    Section,
    Share,
    SourceSettings,
    TargetSettings,
    Whole,
)
from tlsweep.terms import Stage


def _decay(value: Any) -> Any:
    try:
        fits = value == "auto" or (not isinstance(value, bool) and 0 <= float(value) < math.inf)
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise PydanticCustomError("decay", "the value is auto, or a number from 0 on")
    return value


def _settle(value: Any) -> Any:
    if value != "auto" and str(value).lower() not in ("true", "false"):
        raise PydanticCustomError("settle", "the value is auto, true or false")
    return value


def _cut_text(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        rule = "the value is a cut point: its name, its index, a fraction, all or none"
        raise PydanticCustomError("cut_text", rule)
    return value


def _region(value: Any) -> Any:
    parts = value if isinstance(value, list | tuple) else [value]
    if value is not None and (not parts or any(type(part) not in (int, str) for part in parts)):
        rule = "the value is a region: a block by its name or number, A..B, all, or a list of these"
        raise PydanticCustomError("region", rule)
    return tuple(value) if isinstance(value, list) else value


def _folder(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise PydanticCustomError("folder", "the value is a folder, by its path")
    if isinstance(value, str) and "?" in value:  # it would end the path in a database's URL
        raise PydanticCustomError("folder", "the value is a folder without ? in its path")
    return value


Penalty = Annotated[Number, Field(gt=0, le=1e6)]
PosixName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
CutText = Annotated[int | float | str, BeforeValidator(_cut_text)]
Region = int | str | tuple[int | str, ...]


class PlanSettings(Section):
    """conf/plan/*.yaml. Cut points as written: name, alias, index, fraction, all or none.

    tune, adapt, drop: regions, of blocks by name or number; rank, scale: of what plan.adapt adds.
    """

    name: str
    freeze: CutText
    keep: CutText
    regrow: CutText
    weights: Literal["source", "random"]
    tune: Annotated[Region | None, BeforeValidator(_region)]
    adapt: Annotated[Region | None, BeforeValidator(_region)]
    drop: Annotated[Region | None, BeforeValidator(_region)]
    rank: Positive
    scale: Annotated[Number, Field(gt=0, le=1000)]

    @property
    def regions(self) -> dict[str, Region]:
        """The regions that are given, by key."""
        given = {"tune": self.tune, "adapt": self.adapt, "drop": self.drop}
        return {key: region for key, region in given.items() if region is not None}


Trigger = Literal["epochs", "plateau", "grad_norm"]


class ConstantSchedule(Section):
    """conf/schedule/constant.yaml."""

    name: Literal["constant"]


class PhasedSchedule(Section):
    """What the schedules with phases share."""

    until: Trigger
    epochs: Positive
    patience: Positive
    grad_share: Share


class TwoPhaseSchedule(PhasedSchedule):
    """conf/schedule/two_phase.yaml."""

    name: Literal["two_phase"]


class GradualSchedule(PhasedSchedule):
    """conf/schedule/gradual.yaml. begin: where the first block thaws."""

    name: Literal["gradual"]
    begin: Literal["top", "bottom"]


MOST_SGD_DECAY = 0.1
_SGD_RULE = (
    f"with train.optimizer=sgd, whose momentum adds it up, train.weight_decay is at most"
    f" {MOST_SGD_DECAY}"
)


class TrainSettings(Section):
    """conf/train/*.yaml."""

    epochs: Positive
    batch_size: Positive
    optimizer: Literal["adamw", "sgd"]
    lr: Annotated[Number, Field(gt=0, le=100)]
    lr_ratio: Annotated[Number, Field(gt=0, le=10)]
    block_decay: Rate
    weight_decay: Annotated[Literal["auto"] | float, BeforeValidator(_decay)]
    lr_schedule: Literal["cosine", "constant"]
    settle: Annotated[Literal["auto"] | bool, BeforeValidator(_settle)]
    batch_norm: Literal["source", "batch"]
    head_init: Literal["probe", "random"]
    head: Literal["linear", "mlp"]
    pool: Annotated[Whole, Field(ge=1, le=16)]
    augment: Literal["none", "views", "live"]
    views: Positive
    crop: Rate
    flip: bool
    probe: Literal["auto", "logistic", "ridge"]
    probe_penalty: Penalty
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    accelerator: Literal["auto", "cpu", "gpu"]
    devices: Positive
    strategy: Literal["auto", "ddp"]
    num_workers: Annotated[Whole, Field(ge=0)]
    resume: bool

    @model_validator(mode="after")
    def _devices_need_ddp(self) -> TrainSettings:
        if self.devices > 1 and self.strategy != "ddp":
            raise ValueError("several devices train one plan with train.strategy=ddp")
        if self.batch_size % self.devices:
            raise ValueError("train.batch_size is a multiple of train.devices")
        return self

    @model_validator(mode="after")
    def _momentum_adds_up(self) -> TrainSettings:
        decay = self.weight_decay
        if self.optimizer == "sgd" and decay != "auto" and decay > MOST_SGD_DECAY:
            raise ValueError(_SGD_RULE)
        return self

    @model_validator(mode="after")
    def _views_differ(self) -> TrainSettings:
        if self.augment != "none" and self.crop == 1 and not self.flip:
            raise ValueError("augmentation crops or mirrors")
        return self


Minutes = Annotated[Number, Field(gt=0, le=1e5)]
SweepStage = Literal["survey", "search", "confirm"]
_STAGES = (("survey", "search", "confirm"), ("survey",), ("search", "confirm"))
_STAGES_RULE = "sweep.stages is " + " or ".join(f"[{', '.join(s)}]" for s in _STAGES)
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


TrainedOn = Literal["pool", "all"]


class SweepSettings(Section):
    """conf/sweep/*.yaml. The keys above ``params`` are those of Hydra's own Optuna sweeper."""

    direction: Literal["maximize"]
    storage: str | None
    minutes: Minutes | None
    n_trials: Positive
    n_jobs: Positive
    max_failure_rate: Annotated[Number, Field(ge=0, le=1)]
    resume: bool
    sampler: dict[str, Any]
    pruner: dict[str, Any]
    params: dict[str, str]
    fixed: tuple[dict[str, Any], ...]
    stages: Annotated[tuple[SweepStage, ...], Field(min_length=1)]
    survey: SurveySettings
    explore: Annotated[Number, Field(gt=0, le=1)]
    confirm: ConfirmSettings
    final: TrainedOn

    @model_validator(mode="after")
    def _stages_in_a_row(self) -> SweepSettings:
        if self.stages not in _STAGES:
            raise ValueError(_STAGES_RULE)
        return self


class MlflowRecord(Section):
    """conf/record/mlflow.yaml."""

    name: Literal["mlflow"]
    tracking_uri: str | None
    experiment: str


class NoRecord(Section):
    """conf/record/none.yaml."""

    name: Literal["none"]


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


ScheduleSettings = Annotated[
    ConstantSchedule | TwoPhaseSchedule | GradualSchedule, Field(discriminator="name")
]


class Opening(Section):
    """What a question is opened from: source and target, and whether all labels may train."""

    source: SerializeAsAny[SourceSettings]
    target: SerializeAsAny[TargetSettings]
    joined: bool = False


class Settings(Section):
    """The whole of conf/config.yaml, checked."""

    source: SerializeAsAny[SourceSettings]
    target: SerializeAsAny[TargetSettings]
    plan: PlanSettings
    schedule: ScheduleSettings
    train: TrainSettings
    sweep: SweepSettings
    features: FeaturesSettings
    record: Annotated[MlflowRecord | NoRecord, Field(discriminator="name")]
    study: PosixName | None
    output_dir: Annotated[str, BeforeValidator(_folder)]
    seed: Annotated[Whole, Field(ge=0, lt=2**31)]
    fold: Annotated[Whole, Field(ge=0)] | None
    train_on: TrainedOn
    keep_weights: bool
    stage: Stage
    trial: TrialIdentity | None

    @property
    def opening(self) -> Opening:
        """What the question is opened from."""
        return Opening(source=self.source, target=self.target, joined=self.train_on == "all")

    @property
    def study_name(self) -> str:
        """``study``, or SOURCE_to_TARGET where none was given."""
        return self.study or f"{self.source.label}_to_{self.target.label}"

    def question(self) -> dict[str, Any]:
        """What must stay the same for two trials to be comparable, as flat dotted keys."""
        fixed = self.model_dump(
            mode="json",
            include={"source", "target", "plan", "schedule", "train", "seed"},
        )
        # these say how and where, not what; what is read there has a fingerprint of its own
        how = (
            "accelerator", "devices", "strategy", "num_workers", "resume", "cache_dir", "root",
            "download", "ram_gb",
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


def read(config: DictConfig) -> Settings:
    """The composed config as checked, plain values.

    Raises Refusal with one Fault for every key that is unknown, missing or out of its range.
    """
    plain = _plain(config)
    unset = [
        Fault(f"{key} is not set", "this value has no default", f"{key}=VALUE")
        for key, value in flatten(plain)
        if value == "???"
    ]
    parts, faults = _components(plain)
    errors: list[dict[str, Any]] = []
    try:
        settings = Settings.model_validate({**plain, **parts})
    except ValidationError as error:
        errors = [dict(e) for e in error.errors() if e["loc"][0] not in faults]
    wrong = [fault for kind in faults for fault in faults[kind]] + _faults(errors, plain)
    if unset or wrong:
        raise Refusal(*unset, *wrong)
    return settings


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise Refusal(
            Fault(
                f"config key {error.full_key or '?'}: {str(error.msg).splitlines()[0]}",
                "every ${...} in a config leads to a value",
                f"correct {error.full_key or 'that key'}",
            )
        ) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key != "hydra"}


def _components(plain: dict[str, Any]) -> tuple[dict[str, Section], dict[str, list[Fault]]]:
    """The sections that components define themselves, checked, and the faults of the others."""
    parts: dict[str, Section] = {}
    faults: dict[str, list[Fault]] = {}
    for kind in registry.KINDS:
        given = plain.get(kind)
        if not isinstance(given, dict) or "name" not in given:
            continue  # told with the other keys that are missing
        try:
            parts[kind] = registry.section(kind, str(given["name"])).model_validate(given)
        except ValidationError as error:
            inside = [{**e, "loc": (kind, *e["loc"])} for e in error.errors()]
            faults[kind] = _faults(inside, plain)
        except Refusal as refusal:
            faults[kind] = list(refusal.faults)
    return parts, faults


def _faults(errors: Sequence[Mapping[str, Any]], plain: dict[str, Any]) -> list[Fault]:
    """What pydantic found, each said once."""
    # a list whose entries are refused counts as empty, too
    broken = {tuple(e["loc"][:-1]) for e in errors}
    # the marker "???" breaks the rule of its field as well
    return [
        _fault(dict(e), plain)
        for e in errors
        if e["input"] != "???" and not (e["type"] == "too_short" and e["loc"] in broken)
    ]


def to_yaml(settings: Settings) -> str:
    """Settings as YAML that ``read`` accepts again, but for passwords in URLs, which are masked.

    It goes to records and into the report page, which are made to be shared.
    """
    text = OmegaConf.to_yaml(OmegaConf.create(settings.model_dump(mode="json")))
    return re.sub(r"(://[^:/@\s]*:)[^@\s]+@", r"\1***@", text)


_UNIONS = {
    group: {
        tag
        for variant in get_args(field.annotation)
        for tag in get_args(variant.model_fields["name"].annotation)
    }
    for group, field in Settings.model_fields.items()
    if field.discriminator
}


def _fault(entry: dict[str, Any], plain: dict[Any, Any]) -> Fault:
    # pydantic puts the chosen variant of a union into the path ("source.glyphs.cache_dir")
    loc = list(entry["loc"])
    if len(loc) > 1 and loc[1] in _UNIONS.get(str(loc[0]), ()):
        del loc[1]
    key = ".".join(str(part) for part in loc)
    value, kind, context = entry["input"], entry["type"], entry.get("ctx", {})
    value = str(value).lower() if isinstance(value, bool) else value  # as it was written
    if kind == "extra_forbidden":
        return _unknown_key(key, loc, plain)
    if kind == "missing":
        return Fault(f"{key} is missing", "every key of conf/ has a value", f"+{key}=VALUE")
    if kind in ("literal_error", "union_tag_invalid", "enum"):
        return _unknown_choice(key, entry)
    if kind == "value_error":
        rule = str(context.get("error"))
        keys, mend = _RULES.get(rule, ((key,), f"correct {key}"))
        given = dict(flatten(plain))
        return Fault(
            " ".join(f"{k}={given[k]}" for k in keys if k in given).replace("'", "") or key,
            rule,
            mend,
        )
    rule = (
        entry["msg"]
        .replace("Input should be", "the value is")
        .replace("String should", "it should")
    )
    return Fault(
        f"{key}={value}", rule, f"{key}={_nearest_allowed(context) or _SHAPES.get(kind, 'VALUE')}"
    )


_SHAPES = {
    "float_parsing": "NUMBER",
    "int_parsing": "NUMBER",
    "int_from_float": "WHOLE NUMBER",
    "bool_parsing": "true",
    "folds": "auto",
    "decay": "auto",
    "settle": "auto",
    "number": "NUMBER",
    "place": "PATH",
    "folder": "DIR",
    "string_pattern_mismatch": "NAME, of letters, digits, dots, dashes and underscores",
}


def _unknown_key(key: str, loc: list[Any], plain: dict[Any, Any]) -> Fault:
    if found := of_another_variant(key, f"{key}=VALUE"):
        return found
    node: Any = plain
    for part in loc[:-1]:
        node = node[part]
    known = [f"{'.'.join(map(str, [*loc[:-1], name]))}" for name in node if name != loc[-1]]
    fault = unknown_name("key", key, "", known)
    guess = nearest(str(loc[-1]), [str(name) for name in node if name != loc[-1]])
    mend = f"{'.'.join(map(str, [*loc[:-1], guess]))}=VALUE" if guess else None
    return Fault(f"unknown key {key}", fault.rule, mend or "leave it out, or write one of those")


def of_another_variant(key: str, given: str) -> Fault | None:
    """The fault for a key that the chosen variant of its group lacks; None if they all do.

    given: the override, for the mend.
    """
    group, _, name = key.partition(".")
    having = _having(group, name)
    if not having:
        return None
    known = ", ".join(one for several in having for one in several)
    rule = f"{key} is a setting of {group}={known}"
    return Fault(f"unknown key {key}", rule, f"{group}={having[-1][0]} {given}")


def _having(group: str, key: str) -> list[tuple[str, ...]]:
    """The variants of a group that have a setting, by their names."""
    for kind in registry.KINDS:
        if kind == group:
            return registry.having(kind, key)
    field = Settings.model_fields.get(group)
    if field is None or not field.discriminator:
        return []
    variants = [v for v in get_args(field.annotation) if key in v.model_fields]
    return [get_args(v.model_fields["name"].annotation) for v in variants]


def _unknown_choice(key: str, entry: dict[str, Any]) -> Fault:
    context = entry.get("ctx", {})
    text = str(context.get("expected") or context.get("expected_tags"))
    names = [part.strip().strip("'\"") for part in text.replace(" or ", ", ").split(",")]
    value = entry["input"]
    given = value.get("name") if isinstance(value, dict) else value
    *above, kind = key.split(".")
    if not kind.isdigit():
        return unknown_name(kind, key, str(given), names)
    # an entry of a list: "controls.0" is a control, and the list is written whole
    whole = ".".join(above)
    fault = unknown_name(above[-1].removesuffix("s"), whole, str(given), names)
    guess = nearest(str(given), names) or names[0]
    return Fault(fault.value, fault.rule, f"{whole}=[{guess}], or others of that list")


# rules of several keys: which ones, and what keeps them
_RULES = {
    "several devices train one plan with train.strategy=ddp": (
        ("train.devices", "train.strategy"),
        "train.devices=2 train.strategy=ddp",
    ),
    "train.batch_size is a multiple of train.devices": (
        ("train.batch_size", "train.devices"),
        "train.devices=2 train.strategy=ddp train.batch_size=32",
    ),
    _SGD_RULE: (("train.optimizer", "train.weight_decay"), "train.weight_decay=auto"),
    _STAGES_RULE: (("sweep.stages",), "sweep.stages=[survey], or another of those"),
    "augmentation crops or mirrors": (
        ("train.augment", "train.crop", "train.flip"),
        "train.crop=0.7, or train.flip=true, or train.augment=none",
    ),
}


def _nearest_allowed(context: Mapping[str, Any]) -> str | None:
    for bound in ("ge", "le"):
        if bound in context:
            least = context[bound]
            return str(int(least) if least == int(least) else least)
    if "gt" in context:
        return f"a number above {context['gt']:g}"
    if "lt" in context:
        return f"a number below {context['lt']:g}"
    return None
