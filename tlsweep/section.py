"""Sections of the config, each beside what it configures; and the kinds of values in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from tlsweep.files import absolute, absolute_url, in_words

CORRUPTIONS = "corruptions"  # of target.shift: made here, not read from files
TYPED_IN = "typed_in"  # of validation: the folder that relative paths are seen from
AS_TYPED = "as_typed"  # of serialisation: paths as they were written


def _auto_or_a_number_of(things: str) -> BeforeValidator:
    # told as one fault; a union would tell one for each of its kinds
    def check(value: Any) -> Any:
        number = not isinstance(value, bool) and str(value).isdigit() and int(value) > 0
        if value != "auto" and not number:
            raise PydanticCustomError(
                "auto", f"the value is auto, or a number of {things} from 1 on"
            )
        return value

    return BeforeValidator(check)


class _Typed(str):
    """An absolute path that knows how it was written: by that a study knows its question again."""

    typed: str


def _place(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise PydanticCustomError("place", "the value is a file or a folder, by its path")
    if isinstance(value, str) and in_words(value) != value:
        # records and databases hold text; below it names may be of any bytes
        rule = "the path is UTF-8: another name, or a link to it (ln -s)"
        raise PydanticCustomError("place", rule)
    return value


def _seen_from(info: ValidationInfo) -> Path:
    return Path((info.context or {}).get(TYPED_IN) or Path.cwd())


def _absolute(value: str, info: ValidationInfo) -> str:
    path = _Typed(absolute(value, _seen_from(info)))
    path.typed = value
    return path


def _made_or_absolute(value: str, info: ValidationInfo) -> str:
    return value if value == CORRUPTIONS else _absolute(value, info)


def _absolute_url(value: str, info: ValidationInfo) -> str:
    return absolute_url(value, _seen_from(info))


def _absolute_folder(value: str, info: ValidationInfo) -> str:
    path = absolute(value, _seen_from(info))
    return _absolute(value, info) if Path(path).is_dir() else value


def _absolute_local(value: str, info: ValidationInfo) -> str:
    kind, sign, folder = value.partition(":")
    if kind != "local-dir" or not sign:
        return value
    path = _Typed(f"{kind}:{absolute(folder, _seen_from(info))}")
    path.typed = value
    return path


def _written(value: str, info: SerializationInfo) -> str:
    if isinstance(value, _Typed) and (info.context or {}).get(AS_TYPED):
        return value.typed
    return str(value)


def as_region(value: Any) -> Any:
    """A region as written (``cut/region.py``), lists as tuples; for pydantic. None passes."""
    parts = value if isinstance(value, list | tuple) else [value]
    if value is not None and (not parts or any(type(part) not in (int, str) for part in parts)):
        rule = "the value is a region: a block by its name or number, A..B, all, or a list of these"
        raise PydanticCustomError("region", rule)
    return tuple(value) if isinstance(value, list) else value


def _several(value: Any) -> Any:
    """A tuple of what may be written alone, or not at all."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _not_a_switch(value: Any) -> Any:
    # Python counts True as 1: train.epochs=true would train one epoch
    if isinstance(value, bool):
        raise PydanticCustomError("number", "the value is a number")
    return value


Whole = Annotated[int, BeforeValidator(_not_a_switch)]
Number = Annotated[float, BeforeValidator(_not_a_switch)]
Positive = Annotated[Whole, Field(ge=1)]
Share = Annotated[Number, Field(gt=0, lt=1)]
Rate = Annotated[Number, Field(gt=0, le=1)]
Workers = Annotated[Literal["auto"] | int, _auto_or_a_number_of("trials at once")]
Region = int | str | tuple[int | str, ...]
Place = Annotated[
    str, BeforeValidator(_place), AfterValidator(_absolute), PlainSerializer(_written)
]
"""A file or a folder: absolute in every Section, wherever the command was typed."""
NameOrFolder = Annotated[
    str, BeforeValidator(_place), AfterValidator(_absolute_folder), PlainSerializer(_written)
]
"""A folder where there is one, absolute as a Place is; else a name, which stays as it is."""

LocalDir = Annotated[
    str, BeforeValidator(_place), AfterValidator(_absolute_local), PlainSerializer(_written)
]
"""A name, or ``local-dir:FOLDER``, whose folder is absolute as a Place is."""

_Shift = Annotated[
    str, BeforeValidator(_place), AfterValidator(_made_or_absolute), PlainSerializer(_written)
]
Shifts = Annotated[tuple[_Shift, ...], BeforeValidator(_several)]
"""Examples unlike those that are learned from: ``corruptions``, and files or folders."""
Address = Annotated[str, BeforeValidator(_place), AfterValidator(_absolute_url)]
"""A database, a server or a folder, as a URL or a path: absolute where it is in a file."""


class Section(BaseModel):
    """A group of settings, checked, that does not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        coerce_numbers_to_str=True,  # study=2024 is a name, whatever YAML takes it for
    )


class SourceSettings(Section):
    """What every source is told. name: which one, as ``source=NAME`` writes it."""

    name: str

    @property
    def title(self) -> str:
        """The source's name in file names and records."""
        return self.name


class TargetSettings(Section):
    """What every target is told: how its images are parted, and what its answers are scored by.

    from_files: the setting that names its files, where it is given files of one's own.
    """

    from_files: ClassVar[str | None] = None

    name: str
    metric: str | None
    fit_size: Positive | None
    folds: Annotated[Literal["auto"] | int, _auto_or_a_number_of("folds")]
    select_fraction: Share
    report_fraction: Share
    split_seed: Whole
    shift: Shifts = ()

    @property
    def title(self) -> str:
        """The target's name in file names and records."""
        return self.name


class TaskSettings(Section):
    """What every task is told. name: which one, as ``task=NAME`` writes it."""

    name: str


class ScheduleSettings(Section):
    """What every freeze schedule is told. name: which one, as ``schedule=NAME`` writes it."""

    name: str


class EngineSettings(Section):
    """What every engine is told. name: which one, as ``engine=NAME`` writes it."""

    name: str
    workers: Workers

    @property
    def abreast(self) -> int:
        """How many trials are under way at once."""
        assert self.workers != "auto"  # for engines that know what auto is
        return self.workers

    @property
    def leaves(self) -> bool:
        """Whether the engine takes the whole sweep over (``hand_over``), and the command ends."""
        return False

    @property
    def threads_each(self) -> int | None:
        """Threads of a trial; None for what torch takes."""
        raise NotImplementedError


class RecordSettings(Section):
    """What every record is told. name: which one, as ``record=NAME`` writes it."""

    name: str
