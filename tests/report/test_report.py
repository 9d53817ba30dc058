"""What is written to the study's folder and on the terminal: the same words and numbers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tlsweep.report import Material, figure, table, write_report, write_survey
from tlsweep.report.notes import notes
from tlsweep.report.page import unbroken
from tlsweep.survey.rows import Frozen
from tlsweep.task import PERCENT, Classes
from tlsweep.verdict import Interval, Verdict

Make = Callable[..., Material]


def on_terminal(material: Material, *files: Path) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table.verdict_box(material))
    console.print(table.where_next(material, files), soft_wrap=True)
    return " ".join(console.export_text().replace("│", " ").split())


def test_the_files_are_written_whole_and_agree(
    make_material: Make, small_verdict: Verdict, tmp_path: Path
) -> None:
    material = make_material(small_verdict)
    files = write_report(tmp_path, material)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f.name for f in files)
    assert json.loads((tmp_path / "verdict.json").read_text()) == json.loads(
        json.dumps(small_verdict.as_json())
    )
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    curve = figure.svg_file(figure.curve(small_verdict), "curve")
    assert (tmp_path / "curve.svg").read_bytes() == curve
    text = (tmp_path / "report.html").read_text()
    assert unbroken(small_verdict.sentence) in text
    assert material.config.splitlines()[0] in text


def test_the_surveys_picture_is_there_before_any_verdict(tmp_path: Path) -> None:
    points = [Frozen(f"b{i}", i, "source", "ridge", 0.1, 0.5 + i / 10, 1.0, False) for i in (0, 1)]
    scores = [Interval(point.score, 0.4, 0.7) for point in points]
    file = write_survey(tmp_path, points, scores, Classes(2).measure, 20)
    assert file.name == "survey.svg"
    assert file.read_bytes().startswith(b"<?xml")


def test_box_and_page_say_the_same_sentence_and_the_same_warnings(
    make_material: Make, small_verdict: Verdict, tmp_path: Path
) -> None:
    material = make_material(small_verdict)
    text = on_terminal(material)
    write_report(tmp_path, material)
    page = (tmp_path / "report.html").read_text()
    for said in (small_verdict.sentence, *material.notes):
        assert said in text
        assert unbroken(said) in page


def test_a_head_on_all_cut_points_at_once_stands_beside_the_controls(
    make_material: Make, small_verdict: Verdict, tmp_path: Path
) -> None:
    mix = {
        "source": "net", "features": 1234, "of": 14_000, "flops": 10**9, "out_of_fold": 0.9,
        "score": 0.912, "interval": [0.89, 0.93], "recommended_minus_this": 0.031,
        "difference_interval": [0.01, 0.05],
    }  # fmt: skip
    assert "all cut points" not in on_terminal(make_material(small_verdict))
    material = make_material(replace(small_verdict, mixes=[mix]))
    said = "all cut points at once 91.2 % (89.0 to 93.0) the whole network"
    assert said in on_terminal(material)
    write_report(tmp_path, material)
    page = (tmp_path / "report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert "all cut points at once: 1,234 features, the whole network" in page
    assert "+3.1  (+1.0 to +5.0)" in page


def test_the_terminal_shows_the_overrides_the_files_and_what_comes_next(
    make_material: Make, small_verdict: Verdict, tmp_path: Path
) -> None:
    overrides = ["plan=last_layers", "plan.freeze=block2", "train.lr=0.003"]
    recommended = replace(small_verdict.recommended, overrides=overrides)
    material = make_material(replace(small_verdict, recommended=recommended))
    text = on_terminal(material, tmp_path / "report.html")
    assert " ".join(overrides) in text
    score = table.with_interval(small_verdict.score, small_verdict.interval, PERCENT).replace(
        "  ", " "
    )
    assert score in text
    assert "report.html" in text.replace(" ", "")
    for command in material.commands:
        assert f"{command.purpose}: {command.line}" in text


def test_the_record_is_named_once_on_the_terminal(
    make_material: Make, small_verdict: Verdict
) -> None:
    material = make_material(small_verdict)
    named = replace(material.commands[0], line=material.look)
    for shown in (material, replace(material, commands=(named,))):
        assert on_terminal(shown).count(material.look) == 1


# ------------------------------------------------------------------ warnings
@pytest.fixture
def sound(small_verdict: Verdict) -> Verdict:
    """A verdict that nothing is to be said of."""
    settled = {n: {**c, "settled": True} for n, c in small_verdict.controls.items()}
    return replace(small_verdict, controls=settled, shortfalls=[], interval=[0.95, 0.98])


def test_a_sound_verdict_has_no_warnings(sound: Verdict) -> None:
    assert notes(sound, [], {"ants": 40, "bees": 10}, []) == []


def test_few_labelled_images_are_said_with_their_number(sound: Verdict) -> None:
    (said,) = notes(replace(sound, pool_images=99), [], {}, [])
    assert "Only 99 labelled images" in said


def test_a_wide_interval_is_said_in_points(sound: Verdict) -> None:
    few = replace(sound, interval=[0.80, 0.92], report_images=150)
    (said,) = notes(few, [], {}, [])
    assert "Only 150 images" in said
    assert "about 6 points" in said


@pytest.mark.parametrize(
    ("score", "word"), [(-0.124, "12.4 points worse"), (0.08, "8.0 points better")]
)
def test_report_images_unlike_the_labelled_ones_are_said(
    sound: Verdict, score: float, word: str
) -> None:
    (said,) = notes(
        replace(sound, shift=Interval(score, score - 0.03, score + 0.03), shifted=True), [], {}, []
    )
    assert word in said
    assert ("copies of each other" in said) == (score < 0)
    near = replace(sound, shift=Interval(score, -0.2, 0.2), shifted=False)
    assert notes(near, [], {}, []) == []


def test_classes_with_few_examples_are_named_the_smallest_first(sound: Verdict) -> None:
    (said,) = notes(sound, [], {"ants": 9, "bees": 3, "wasps": 10}, [])
    assert "bees (3), ants (9)" in said
    assert "wasps" not in said
    (long,) = notes(sound, [], {f"class{i:02d}": 1 for i in range(30)}, [])
    assert "and 22 more" in long


def test_an_unsettled_control_is_said_to_be_a_lower_bound(sound: Verdict) -> None:
    scratch = {"settled": False, "score": 0.9, "recommended_minus_this": 0.03}
    controls = {**sound.controls, "scratch": {**sound.controls["scratch"], **scratch}}
    (said,) = notes(replace(sound, controls=controls), [], {}, [])
    assert "90.0 % is a lower bound" in said
    assert "transfer helped by at most 3.0 points" in said


def test_an_optimum_at_an_end_is_said_with_the_range(sound: Verdict) -> None:
    (said,) = notes(sound, [], {}, [("train.lr", 0.03, (0.003, 0.03))])
    assert "train.lr, 0.03, is at an end of what was tried (0.003 to 0.03)" in said


def test_what_was_not_measured_and_what_was_decided_of_the_data_are_said(sound: Verdict) -> None:
    lacking = replace(sound, shortfalls=["finetune: 1 of 3 replicates failed: OSError"])
    said = notes(lacking, ["a class has 3 images: 3 folds"], {}, [])
    assert said == [
        "Not measured: finetune: 1 of 3 replicates failed: OSError.",
        "A class has 3 images: 3 folds.",
    ]
