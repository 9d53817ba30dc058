"""Real data: the pooled activations of every image at every cut point, computed once a data set."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from tasks import Task, mobilenet
from torch import Tensor
from torch.utils.data import DataLoader

from tlsweep.extract.taps import Taps

BATCH = 64


@dataclass(frozen=True)
class Images:
    """Everything that is known of the images of one data set.

    source: the name of the network; z: float32 [n, features] at each cut point, labels: int64 [n],
    of all images, whatever split they come in; flops: of a forward pass up to each cut point.
    """

    name: str
    source: str
    z: tuple[Tensor, ...]
    labels: npt.NDArray[np.int64]
    flops: tuple[int, ...]

    @property
    def n_classes(self) -> int:
        return int(self.labels.max()) + 1


def hymenoptera(real: Path) -> Images:
    """Ants and bees, MobileNetV2 with ImageNet weights, 128 px."""
    return folder(real, "hymenoptera", "hymenoptera", 128)


def rsscn7(real: Path) -> Images:
    """Aerial scenes, MobileNetV2 with ImageNet weights, 64 px."""
    return folder(real, "rsscn7_128", "rsscn7", 64)


def digits() -> Images:
    """Handwriting, the network that has learned printed letters, 32 px."""
    return _opened(Task("digits", "glyphs", ("source=glyphs", "target=digits", "train.pool=2")))


def folder(real: Path, archive: str, name: str, size: int) -> Images:
    """The images of an archive of class folders, MobileNetV2 with ImageNet weights, ``size`` px."""
    with TemporaryDirectory() as unpacked:
        with zipfile.ZipFile(real / archive / f"{archive}.zip") as packed:
            packed.extractall(unpacked)
        root = next(path.parent for path in Path(unpacked).rglob("train"))
        lines = (
            *mobilenet(real),
            "train.pool=2",
            f"source.image_size={size}",
            "target=image_folder",
        )
        return _opened(Task(name, f"MobileNetV2, {size} px", (*lines, f"target.root={root}")))


def _opened(task: Task) -> Images:
    settings, question = task.settings(), task.question()
    indices = range(len(question.cuts))
    rules = [question.pooling(i, settings.train) for i in indices]
    taps = Taps(question.source.model(), question.cuts, indices, rules)
    everything = np.arange(len(question.target.labels))
    loader = DataLoader(question.target.dataset(everything, question.source.spec), BATCH)
    parts = [[z.clone() for z in taps(batch.z)] for batch in loader]
    return Images(
        task.name,
        task.model,
        tuple(torch.cat(column) for column in zip(*parts, strict=True)),
        question.target.labels,
        tuple(cost.flops for cost in question.costs),
    )
