"""A sweep over a target of numbers, and one over labels: verdict, page, record, model, predict."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image
from short_sweep import ALONE, Run

from tlsweep.target import open_target
from tlsweep.terms import ImageSpec

GREY = ImageSpec(channels=1, size=32, mean=(0.0,), std=(1.0,), resize=32)


def letters(target: str, folder: Path, n: int = 3) -> list[str]:
    """Files of a target's first images."""
    pixels = open_target(target).pixels(np.arange(n), GREY).numpy()
    for i, image in enumerate(pixels):
        Image.fromarray(image[0]).save(folder / f"letter{i}.png")
    return [f"letter{i}.png" for i in range(n)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "metric", "words", "unit"),
    [
        ("glyph_angle", "mae", "mean absolute error", "degrees"),
        pytest.param(
            "glyph_attributes", "example_f1", "mean example F1", "%", marks=pytest.mark.slow
        ),
    ],
)
def test_a_target_of_another_kind_gets_a_verdict_in_its_own_unit_and_a_model(
    tlsweep: Run, tmp_path: Path, target: str, metric: str, words: str, unit: str
) -> None:
    done = tlsweep("-m", f"target={target}", *ALONE, "output_dir=out")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "out" / f"glyphs_to_{target}"
    verdict = json.loads((folder / "verdict.json").read_text())
    assert (verdict["metric"], verdict["measure"]["unit"]) == (metric, unit)
    assert words in verdict["sentence"]
    low, high = verdict["interval"]
    assert low < verdict["score"] < high
    better = verdict["measure"]["higher_is_better"]
    assert (verdict["score"] > verdict["majority"]) == better
    assert unit in done.stdout
    page = (folder / "report.html").read_text()
    assert f"{words} on {verdict['report_images']} new images" in page
    assert "Where it is right and where not" in page

    client = MlflowClient(f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tlsweep")
    assert experiment is not None
    (parent,) = [
        run
        for run in client.search_runs([experiment.experiment_id], max_results=1000)
        if "mlflow.parentRunId" not in run.data.tags
    ]
    assert parent.data.metrics["report_score"] == pytest.approx(verdict["score"])

    said = tlsweep("predict", f"model={folder / 'model'}", *letters(target, tmp_path))
    rows = list(csv.DictReader(io.StringIO(said.stdout)))
    names = open_target(target).output_names
    assert [row["file"] for row in rows] == ["letter0.png", "letter1.png", "letter2.png"]
    if metric == "mae":
        assert list(rows[0]) == ["file", *names]
        assert all(abs(float(row["angle"])) < 90 for row in rows)
    else:
        assert list(rows[0]) == ["file", "labels", *(f"p({name})" for name in names)]
        assert all(0 <= float(row[f"p({name})"]) <= 1 for row in rows for name in names)
    written = tlsweep("export", f"model={folder / 'model'}", "format=onnx")
    assert written.returncode == 0, written.stdout + written.stderr
