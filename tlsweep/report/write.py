"""Writes what a person looks at into the study's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tlsweep.files import write_whole
from tlsweep.report import figure
from tlsweep.report.material import Material
from tlsweep.report.page import page
from tlsweep.survey.rows import Frozen
from tlsweep.task import Measure
from tlsweep.verdict import Interval


def write_report(folder: Path, material: Material) -> list[Path]:
    """verdict.json, curve.svg, curve.png and report.html in ``folder``. Returns the files.

    config.yaml is there already.
    """
    verdict = material.verdict
    drawn = figure.curve(verdict)
    return _written(
        folder,
        {
            "verdict.json": (json.dumps(verdict.as_json(), indent=2) + "\n").encode(),
            "curve.svg": figure.svg_file(drawn, "curve"),
            "curve.png": figure.png_file(drawn),
            "report.html": page(material).encode(),
        },
    )


def write_survey(
    folder: Path,
    points: Sequence[Frozen],
    scores: Sequence[Interval],
    measure: Measure,
    images: int,
    source: str = "",
) -> Path:
    """survey.svg in ``folder``: every cut point, frozen, with intervals. Returns the file.

    scores: of the points, in the metric's unit; images: that were each held out once; source: in
    the file's name, where there are several.
    """
    drawn = figure.survey(points, scores, measure, images)
    name = f"survey-{source}.svg" if source else "survey.svg"
    return _written(folder, {name: figure.svg_file(drawn, "survey")})[0]


def _written(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]
