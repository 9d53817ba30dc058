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
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from table import Table

from tlsweep.cli import conf_folder
from tlsweep.config.read import read
from tlsweep.survey.all_cuts import refit_mix
from tlsweep.survey.surveyor import refit, survey
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
    score, low, high = (100 * x for x in (found.score, found.low, found.high))
    return (
        f"{score:+.1f} ({low:+.1f} to {high:+.1f})"
        if sign
        else f"{score:.1f} ({low:.1f} to {high:.1f})"
    )


def measured(source: str, target: str, root: Path, folder: Path) -> dict[str, Any]:
    """One row: a survey of the source on the target, and both answers of the report split."""
    lines = [
        "source=torchvision", f"source.model={source}",
        f"source.checkpoint={DATA / 'weights' / SOURCES[source]}", f"source.image_size={SIZE}",
        "target=image_folder", f"target.root={root}", f"target.fit_size={POOL}",
        "sweep.survey.all_cuts=true", "sweep.survey.random=false", "sweep.minutes=null",
        f"features.cache_dir={folder}", f"output_dir={folder}", "record=none",
    ]  # fmt: skip
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        asked = read(compose("config", overrides=lines))
    inputs = resolve(asked).inputs
    began = time.monotonic()
    plain, _ = survey(
        inputs, asked.sweep.survey.model_copy(update={"all_cuts": False}), None, lambda *_: None
    )
    first = time.monotonic() - began
    again = time.monotonic()
    survey(inputs, asked.sweep.survey.model_copy(update={"all_cuts": False}), None, lambda *_: None)
    heads = time.monotonic() - again
    again = time.monotonic()
    findings, _ = survey(inputs, asked.sweep.survey, None, lambda *_: None)
    more = time.monotonic() - again - heads
    assert findings.mix is not None
    question, mixed = inputs.question, findings.mix
    best = plain.ranking()[0]
    y = question.target.labels[question.partition.report]
    cut = refit(inputs, {best: plain.penalties()[best]})[best]
    single = question.task.example_scores(cut, y)[None]
    all_of = question.task.example_scores(refit_mix(inputs, mixed), y)[None]
    told = Told(question.task.measure)
    worst = Told(question.task.measure)
    return {
        "source": source,
        "target": target,
        "best cut": f"{question.cuts[best].name} ({best} of {question.cuts.n_blocks})",
        "out of fold": f"{100 * plain.curve()[best].score:.1f}",
        "all cuts, out of fold": f"{100 * mixed.score:.1f}",
        "new images": written(as_share(told.score(single))),
        "all cuts, new images": written(as_share(told.score(all_of))),
        "all cuts less best cut": written(as_share(worst.difference(all_of, single)), sign=True),
        "features": f"{mixed.features:,} of {mixed.of:,}",
        "seconds": f"{first:.0f} + {more:.0f}",
    }


def as_share(found: Interval) -> Interval:
    """The metric is a share already."""
    return found


def main() -> None:
    if not DATA.is_dir():
        sys.exit("TLSWEEP_REAL_DATA names no folder")
    rows = []
    with tempfile.TemporaryDirectory() as made:
        for target in TARGETS:
            root = images_of(target, Path(made))
            for source in SOURCES:
                rows.append(measured(source, target, root, Path(made)))
                print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
