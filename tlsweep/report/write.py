"""Writes what a person looks at into the study's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tlsweep.files import write_whole
from tlsweep.report import figure
from tlsweep.report.material import Material
from tlsweep.report.page import page
from tlsweep.survey.rows import Findings
from tlsweep.verdict import accuracy_interval


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


def write_survey(folder: Path, findings: Findings, images: int, confidence: float) -> Path:
    """survey.svg in ``folder``: every cut point, frozen, with intervals. Returns the file.

    images: that were each held out once; confidence: of the intervals.
    """
    hits = [np.arange(images)[None] < round(point.score * images) for point in findings.frozen]
    intervals = [accuracy_interval(one, confidence) for one in hits]
    drawn = figure.survey(findings.frozen, intervals, images)
    return _written(folder, {"survey.svg": figure.svg_file(drawn, "survey")})[0]


def _written(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]
