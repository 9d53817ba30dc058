"""The sources that one study compares, each with its own question about the one target."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeVar

from tlsweep.config.read import read
from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal, together
from tlsweep.jobs.bench import Bench
from tlsweep.jobs.sources import Overrides
from tlsweep.question import Progress, Question
from tlsweep.stages.first_trials import inherited
from tlsweep.trial import question_of

A = TypeVar("A")
B = TypeVar("B")
LONGEST = 60  # letters of a study's name that its sources take


@dataclass(frozen=True)
class StudySource:
    """One source of a study.

    called: its name in tables; file_name: in names of files, "" where it is the only source;
    overrides: what chooses it on a command line, none where it is the only one.
    """

    called: str
    file_name: str
    overrides: Overrides
    settings: Settings
    question: Question


def only(settings: Settings, question: Question) -> StudySource:
    """The one source of a study."""
    return StudySource(question.source.name, "", (), settings, question)


def settings_of_each(
    bench: Bench, plain: Sequence[str], chosen: Sequence[Overrides]
) -> list[Settings]:
    """The settings of each source, all under the study's one name.

    Raises Refusal with the faults of all of them.
    """
    found = _all(
        lambda one: read(bench.compose([*inherited(plain, one, plan=False), *one])), chosen
    )
    if len(found) == 1 or found[0].study:
        return found
    titles = [one.source.title for one in found]
    joined = "_or_".join(_file_names(titles))
    which = (
        joined
        if len(set(titles)) == len(found) and len(joined) <= LONGEST
        else f"{len(found)}_sources"
    )
    name = f"{which}_to_{found[0].target.title}"
    return [one.model_copy(update={"study": name}) for one in found]


def open_sources(
    settings: Sequence[Settings], chosen: Sequence[Overrides], progress: Progress
) -> tuple[StudySource, ...]:
    """Open the question of each source. Raises Refusal with the faults of all of them."""
    questions = _all(lambda one: question_of(one, progress), settings)
    names = _names([one.source.name for one in questions], chosen)
    files = [""] if len(chosen) == 1 else _file_names(names)
    rows = zip(names, files, chosen, settings, questions, strict=True)
    return tuple(StudySource(*row) for row in rows)


def _all(action: Callable[[A], B], given: Sequence[A]) -> list[B]:
    """What an action gives for each. Raises Refusal with the faults of all of them."""
    faults: list[Refusal] = []
    found = []
    for one in given:
        try:
            found.append(action(one))
        except Refusal as refusal:
            faults.append(refusal)
    if faults:
        raise Refusal(*dict.fromkeys(together(*faults).faults))
    return found


def _names(models: Sequence[str], chosen: Sequence[Overrides]) -> list[str]:
    """What each is called: by its model, and where models are the same by what else chooses it."""
    names = []
    for model, overrides in zip(models, chosen, strict=True):
        alike = [set(o) for m, o in zip(models, chosen, strict=True) if m == model]
        own = [o for o in overrides if not all(o in other for other in alike)]
        names.append(f"{model} ({', '.join(map(_short, own))})" if own else model)
    return names


def _short(override: str) -> str:
    """The value of an override; of a path its end."""
    value = override.partition("=")[2].strip("'")
    return PurePath(value).name or value


def _file_names(names: Sequence[str]) -> list[str]:
    made = [re.sub(r"[^A-Za-z0-9.-]+", "_", name).strip("_.-") for name in names]
    return [f"{name}_{k}" if made.count(name) > 1 else name for k, name in enumerate(made)]


def recorded(sources: Sequence[StudySource]) -> Mapping[str, Any]:
    """What must stay the same of all sources but the first, as flat keys."""
    return {
        f"sources.{place}.{key}": value
        for place, one in enumerate(sources)
        if place
        for key, value in (
            *((k, v) for k, v in one.settings.question().items() if k.startswith("source.")),
            ("source.fingerprint", one.question.source.fingerprint),
        )
    }
