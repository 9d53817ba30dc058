"""What trains, and how: the settings of ``train``."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tlsweep.registry import names
from tlsweep.section import Number, Positive, Rate, Section, Whole


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


def _head(value: str) -> str:
    known = names("head")
    if value not in known:
        expected = " or ".join(f"'{name}'" for name in known)
        raise PydanticCustomError(
            "literal_error", "the value is {expected}", {"expected": expected}
        )
    return value


Penalty = Annotated[Number, Field(gt=0, le=1e6)]

MOST_SGD_DECAY = 0.1
SGD_RULE = (
    f"with train.optimizer=sgd, whose momentum adds it up, train.weight_decay is at most"
    f" {MOST_SGD_DECAY}"
)

PARTS_RULE = "each device's share of train.batch_size is a multiple of train.accumulate"


class TrainSettings(Section):
    """conf/train/*.yaml."""

    epochs: Positive
    batch_size: Positive
    accumulate: Positive
    out_of_memory: Literal["fail", "halve"]
    optimizer: Literal["adamw", "sgd"]
    lr: Annotated[Number, Field(gt=0, le=100)]
    lr_ratio: Annotated[Number, Field(gt=0, le=10)]
    block_decay: Rate
    weight_decay: Annotated[Literal["auto"] | float, BeforeValidator(_decay)]
    lr_schedule: Literal["cosine", "constant"]
    settle: Annotated[Literal["auto"] | bool, BeforeValidator(_settle)]
    batch_norm: Literal["source", "batch"]
    head_init: Literal["probe", "random"]
    head: Annotated[str, AfterValidator(_head)]
    head_sizes: Annotated[tuple[Positive, ...], Field(min_length=1)] | None
    dropout: Annotated[Number, Field(ge=0, lt=1)]
    pool: Annotated[Whole, Field(ge=1, le=16)]
    class_weights: Literal["none", "balanced"]
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
        if self.batch_size // self.devices % self.accumulate:
            raise ValueError(PARTS_RULE)
        return self

    @property
    def device_batch(self) -> int:
        """Examples of a step on each device."""
        return self.batch_size // self.devices

    @property
    def passed(self) -> int:
        """Examples that go through the network at a time, on each device."""
        return self.device_batch // self.accumulate

    def halved(self) -> TrainSettings | None:
        """The same steps with half of the examples at a time; None where that does not go on."""
        if self.passed % 2 or self.passed < 4:  # BatchNorm cannot be trained on one image
            return None
        return self.model_copy(update={"accumulate": 2 * self.accumulate})

    @model_validator(mode="after")
    def _momentum_adds_up(self) -> TrainSettings:
        decay = self.weight_decay
        if self.optimizer == "sgd" and decay != "auto" and decay > MOST_SGD_DECAY:
            raise ValueError(SGD_RULE)
        return self

    @model_validator(mode="after")
    def _views_differ(self) -> TrainSettings:
        if self.augment != "none" and self.crop == 1 and not self.flip:
            raise ValueError("augmentation crops or mirrors")
        return self
