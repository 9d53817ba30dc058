"""The tasks: settings as a user writes them, opened; images decoded when a contender asks."""

from __future__ import annotations

import functools
import math
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tlsweep.cli import conf_folder
from tlsweep.config.read import read
from tlsweep.config.settings import Settings
from tlsweep.jobs.overrides import compose_config
from tlsweep.question import Question, target_options
from tlsweep.target import open_target
from tlsweep.trial import question_of

PIXELS = 128
# one holdout: opponents fit their heads once, not once a fold
COMMON = (
    "train.pool=1", "train.accelerator=cpu", "sweep.survey.random=false", "record=none",
    "target.folds=1",
)  # fmt: skip
IMAGE_SETS = ("caltech101_25", "hymenoptera")
EMBEDDED = "digits"


@dataclass(frozen=True)
class Task:
    """One question.

    model: of the source, for the table's title; lines: its overrides; folder: of its images.
    """

    name: str
    model: str
    lines: tuple[str, ...]
    folder: Path | None = None

    @functools.lru_cache(maxsize=32)  # noqa: B019 - tasks live as long as the process
    def settings(self, *more: str) -> Settings:
        """The settings with further overrides."""
        return read(compose_config([*COMMON, *self.lines, *more], conf_folder()))

    def question(self) -> Question:
        """The question with a target of its own, of which nothing is decoded yet."""
        settings = self.settings()
        opened = question_of(settings)
        target = open_target(settings.target.name, **target_options(settings.target))
        return replace(opened, target=target)


@contextmanager
def open_tasks(
    names: Sequence[str], real: Path | None, fit_size: int | None
) -> Iterator[list[Task]]:
    """The tasks of these names; image sets are unpacked into a folder that goes again.

    real: the folder of real data; without it only the embedded task is there. fit_size: labelled
    images that train, None for all of the image sets and for the embedded task's own 200.
    """
    with ExitStack() as stack:
        tasks = []
        for name in names:
            if name == EMBEDDED:
                lines = ("source=glyphs", "target=digits", *_few(fit_size))
                tasks.append(Task(name, "glyphs", lines))
            elif real is not None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                tasks.append(_image_task(name, real, folder / name, fit_size))
        yield tasks


def _image_task(name: str, real: Path, folder: Path, fit_size: int | None) -> Task:
    with zipfile.ZipFile(real / name / f"{name}.zip") as archive:
        archive.extractall(folder, _some(archive.namelist(), fit_size))
    root = next(path.parent for path in folder.rglob("train"))
    lines = (*mobilenet(real), "target=image_folder", f"target.root={root}", *_few(fit_size))
    return Task(name, "MobileNetV2", lines, root)


def _few(fit_size: int | None) -> tuple[str, ...]:
    return () if fit_size is None else (f"target.fit_size={fit_size}",)


def _some(names: Sequence[str], fit_size: int | None) -> list[str]:
    """Files to unpack: all, or of every folder enough for a small fit split and more."""
    images = [name for name in names if not name.endswith("/")]
    folders: dict[str, list[str]] = {}
    for name in images:
        folders.setdefault(name.rpartition("/")[0], []).append(name)
    most = len(images) if fit_size is None else math.ceil(4 * fit_size / len(folders))
    return [name for inside in folders.values() for name in inside[:most]]


def mobilenet(real: Path) -> tuple[str, ...]:
    """MobileNetV2 with its ImageNet weights, as overrides."""
    weights = real / "weights" / "mobilenet_v2_imagenet.pt"
    return (
        "source=torchvision",
        "source.model=mobilenet_v2",
        f"source.checkpoint={weights}",
        f"source.image_size={PIXELS}",
    )
