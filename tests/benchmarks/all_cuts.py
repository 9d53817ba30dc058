"""A head on all cut points at once against the best single cut point, frozen, on real data.

``python tests/benchmarks/all_cuts.py`` writes all_cuts.md beside it; with TLSWEEP_REAL_DATA
(minutes; images and weights of its README).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from rich.console import Console
from table import Table

from tlsweep.cli import conf_folder
from tlsweep.config.read import read
from tlsweep.config.settings import Settings
from tlsweep.survey.all_cuts import mix, refit_mix
from tlsweep.survey.surveyor import features_of, folds_of, refit, survey
from tlsweep.trial import resolve
from tlsweep.verdict import Interval, Told

DATA = Path(os.environ.get("TLSWEEP_REAL_DATA", ""))
TARGETS = ("hymenoptera", "caltech101_25", "rsscn7_128", "sign_digits")
SOURCES = {"mobilenet_v2": "mobilenet_v2_imagenet.pt", "squeezenet1_0": "squeezenet1_0_imagenet.pt"}
POOL, SIZE = 200, 128


def images_of(name: str, folder: Path) -> Path:
    """The class folders of a set, unzipped."""
    with zipfile.ZipFile(next((DATA / name).glob("*.zip"))) as archive:
        archive.extractall(folder / name)
    found = folder / name
    while len(inside := [p for p in found.iterdir() if p.is_dir()]) == 1:
        found = inside[0]
    return found


def written(found: Interval, *, sign: bool = False) -> str:
    """``87.0 (82.1 to 91.0)``, in points."""
    plus = "+" if sign else ""
    score, low, high = (f"{100 * x:{plus}.1f}" for x in (found.score, found.low, found.high))
    return f"{score} ({low} to {high})"


def asked_of(source: str, target: str, root: Path, folder: Path) -> Settings:
    """The settings of a survey."""
    lines = [
        "source=torchvision", f"source.model={source}",
        f"source.checkpoint={DATA / 'weights' / SOURCES[source]}", f"source.image_size={SIZE}",
        "target=image_folder", f"target.root={root}", f"target.fit_size={POOL}",
        "sweep.survey.random=false", f"features.cache_dir={folder}", "record=none",
    ]  # fmt: skip
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return read(compose("config", overrides=lines))


def row_of(source: str, target: str, root: Path, folder: Path) -> list[str]:
    """A survey of the source on the target, and both answers of the report split."""
    asked = asked_of(source, target, root, folder)
    inputs, chosen, seconds = resolve(asked).inputs, asked.sweep.survey, time.process_time()
    plain, outcomes = survey(inputs, chosen, None, lambda *_: None)
    first, seconds = time.process_time() - seconds, time.process_time()
    folds = [(fold.fit, fold.held_out) for fold in folds_of(inputs, chosen)]
    z, views, y = features_of(inputs, range(len(inputs.question.cuts)))
    mixed = mix(inputs, chosen.penalties, folds, views, z, y)
    more = time.process_time() - seconds
    question, best, told = inputs.question, plain.ranking()[0], Told(inputs.question.task.measure)
    parts, score = question.partition, question.task.example_scores
    held_out = np.concatenate(list(outcomes["source", best].held_out.values()))
    own_n = score(held_out, question.target.labels[parts.held_out])
    truth = question.target.labels[parts.report]
    cut_n = score(refit(inputs, {best: plain.penalties()[best]})[best], truth)
    mix_n = score(refit_mix(inputs, mixed), truth)
    return [
        f"{target}, {source}",
        f"{question.cuts[best].name} ({best} of {question.cuts.n_blocks})",
        f"{100 * own_n.mean():.1f}",
        f"{100 * mixed.score:.1f}",
        written(told.difference(np.array([mixed.scores]), own_n[None]), sign=True),
        written(told.score(cut_n[None])),
        written(told.score(mix_n[None])),
        written(told.difference(mix_n[None], cut_n[None]), sign=True),
        f"{mixed.features:,} of {mixed.of:,}",
        f"{first:.0f} + {more:.0f}",
    ]


COLUMNS = (
    "", "best cut point", "it, out of fold", "all, out of fold", "all less it",
    "it, new images", "all, new images", "all less it", "features kept",
    "seconds of a processor",
)  # fmt: skip


def main() -> None:
    """Print the table, and write it."""
    if not DATA.is_dir():
        sys.exit("TLSWEEP_REAL_DATA names no folder")
    rows, here = [], Path(__file__)
    with tempfile.TemporaryDirectory() as made:
        for target in TARGETS:
            root = images_of(target, Path(made))
            for source in SOURCES:
                rows.append(row_of(source, target, root, Path(made) / "cache"))
                title = f"All cut points at once against the best one, pool of {POOL}, {SIZE} px"
                text = Table(title, COLUMNS, rows).markdown()
                head = (
                    "# All cut points at once\n\n`python tests/benchmarks/all_cuts.py` writes this."
                )
                here.with_suffix(".md").write_text(f"{head}\n\n{text}\n")
    Table(title, COLUMNS, rows).show(Console())


if __name__ == "__main__":
    main()
