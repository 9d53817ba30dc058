"""The curve shows one population, and every picture can be read at the size of its screen."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from dataclasses import replace

import matplotlib.text
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tlsweep.report import Material, figure
from tlsweep.survey.rows import Frozen
from tlsweep.task import Classes
from tlsweep.verdict import Interval, Verdict

ACCURACY = Classes(10).measure
SIZES = [figure.WIDE, figure.NARROW]


def frozen(index: int, weights: str, score: float) -> Frozen:
    return Frozen(f"block{index}", index, weights, "logistic", 0.1, score, 0.5, False)


def points(axes: object, label: str) -> list[tuple[float, float]]:
    """Where the markers with this label stand."""
    (line,) = [x for x in axes.lines if x.get_label() == label]  # type: ignore[attr-defined]
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


def test_the_curve_has_every_cut_point_at_its_report_score(small_verdict: Verdict) -> None:
    (axes,) = figure.curve(small_verdict).axes
    expected = [
        (p.index, pytest.approx(100 * p.score))
        for p in small_verdict.curve
        if p.state == "frozen" and p.index > 0
    ]
    assert points(axes, figure.WORDS["frozen"]) == expected
    assert len(expected) == small_verdict.recommended.n_blocks


def test_a_trained_plan_that_was_not_scored_on_the_report_split_is_no_point(
    small_verdict: Verdict,
) -> None:
    """It was tried, and has a row of the table; the picture has one population."""
    tried = [r for r in small_verdict.plans if r.plan == "truncate_tuned"]
    scored = [r.index for r in tried if r.report is not None]
    assert len(tried) > len(scored)
    (axes,) = figure.curve(small_verdict).axes
    shown = {x for x, _ in points(axes, figure.WORDS["tuned"])}
    assert shown == {*scored, small_verdict.recommended.n_blocks}


def test_raw_pixels_and_random_weights_are_points_and_trained_controls_are_lines(
    small_verdict: Verdict,
) -> None:
    (axes,) = figure.curve(small_verdict).axes
    assert len(points(axes, "raw pixels")) == len(points(axes, "random weights")) == 1
    heights = {round(float(x.get_ydata()[0]), 6) for x in axes.lines if x.get_linestyle() != "None"}
    for name in figure.LINE_CONTROLS:
        assert round(100 * small_verdict.controls[name]["score"], 6) in heights
    texts = " ".join(t.get_text() for t in axes.texts)
    assert "train all blocks" in texts
    assert "from scratch ≥" in texts  # it was still improving


def test_the_ring_stands_on_the_recommended_point(small_verdict: Verdict) -> None:
    (axes,) = figure.curve(small_verdict).axes
    r = small_verdict.recommended
    ((x, y),) = points(axes, "recommended")
    at = (x, pytest.approx(y, abs=1e-6))
    assert at in points(axes, figure.WORDS[r.state])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", ["small", "large"])
def test_no_text_of_the_curve_overlaps_another_or_leaves_it(
    case: str, size: tuple[int, int], small_verdict: Verdict, large_verdict: Verdict
) -> None:
    verdict = {"small": small_verdict, "large": large_verdict}[case]
    close = {n: {**c, "score": 0.9} for n, c in verdict.controls.items()}  # labels want one place
    drawn = figure.curve(replace(verdict, controls=close), size)
    assert_readable(drawn, size)


def assert_readable(drawn: Figure, size: tuple[int, int]) -> None:
    drawn.draw_without_rendering()
    width, height = drawn.bbox.width, drawn.bbox.height
    (axes,) = drawn.axes
    low, high = axes.get_ylim()  # matplotlib keeps labels beyond both ends, and does not draw them
    beyond = [t for t in axes.get_yticklabels() if not low <= t.get_position()[1] <= high]
    (legend,) = drawn.legends
    labels = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label]
    texts: list[matplotlib.text.Text] = [*labels, *legend.get_texts(), *axes.texts]
    texts = [t for t in texts if t not in beyond and t.get_text()]
    boxes = {id(t): t.get_window_extent() for t in texts}
    for t in texts:
        box = boxes[id(t)]
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, (t.get_text(), box, size)
    upright = [t for t in texts if t.get_rotation() in (0, 90)]
    for a, b in itertools.combinations(upright, 2):
        assert not boxes[id(a)].overlaps(boxes[id(b)]), (a.get_text(), b.get_text())
    # turned labels run side by side: what has to hold is a line's height between two of them
    turned = sorted(t.get_window_extent().x1 for t in axes.get_xticklabels() if t.get_rotation())
    gaps = [b - a for a, b in itertools.pairwise(turned)]
    assert all(gap * np.sin(np.pi / 4) > 10 for gap in gaps), gaps


def test_a_verdict_with_a_single_point_and_no_controls_can_be_drawn(
    small_verdict: Verdict,
) -> None:
    bare = replace(small_verdict, controls={}, curve=small_verdict.curve[:1])
    assert figure.png_file(figure.curve(bare)).startswith(b"\x89PNG")
    none = figure.curve(replace(bare, curve=[]))
    assert figure.png_file(none).startswith(b"\x89PNG")
    assert figure.svg(none, "x", "").startswith("<svg")


def test_a_verdict_without_a_point_on_its_curve_is_drawn_with_the_ring_and_the_lines(
    small_verdict: Verdict,
) -> None:
    """Plans with regions alone, and no survey."""
    drawn = figure.curve(replace(small_verdict, curve=[]))
    (axes,) = drawn.axes
    ((x, y),) = points(axes, "recommended")
    assert x == small_verdict.recommended.keep
    assert y == pytest.approx(100 * small_verdict.mean_score)
    (full,) = figure.curve(small_verdict).axes
    assert len(axes.texts) == len(full.texts) > 0  # scratch and finetune are lines with a word
    assert figure.png_file(drawn).startswith(b"\x89PNG")


def test_the_survey_shows_both_kinds_of_weights_with_intervals() -> None:
    found = [frozen(i, w, 0.5 + 0.1 * i) for w in ("source", "random") for i in range(3)]
    intervals = [Interval(p.score, p.score - 0.1, p.score + 0.05) for p in found]
    (axes,) = figure.survey(found, intervals, ACCURACY, 200).axes
    assert [y for _, y in points(axes, "random weights")] == pytest.approx([50, 60, 70])
    ends = sorted({round(float(v), 6) for c in axes.collections for s in c.get_segments()
                   for v in s[:, 1]})  # fmt: skip
    assert {40.0, 55.0, 75.0} <= set(ends)


def test_score_against_cost_has_every_plan_that_was_scored(small_verdict: Verdict) -> None:
    (axes,) = figure.cost(small_verdict).axes
    labels = [label for label in figure.WORDS.values() if label in
              {str(x.get_label()) for x in axes.lines}]  # fmt: skip
    shown = sorted(point for label in labels for point in points(axes, label))
    expected = sorted(
        (r.flops / 1e6, 100 * r.report.mean) for r in small_verdict.plans if r.report is not None
    )
    np.testing.assert_allclose(shown, expected)


def test_learning_curves_mark_thaws_before_the_epoch_that_begins_with_them(
    make_material: Callable[..., Material], small_verdict: Verdict
) -> None:
    drawn = figure.learning(make_material(small_verdict).trainings, ACCURACY)
    assert drawn is not None
    assert (
        len(drawn.axes) == 2
    )  # the loss of final trainings, and accuracy where a fold is held out
    for axes in drawn.axes:
        assert {x for x, _ in points_of_all(axes, "blocks thaw")} == {4.5}
    assert figure.learning((), ACCURACY) is None


def points_of_all(axes: object, label: str) -> list[tuple[float, float]]:
    lines = [x for x in axes.lines if x.get_label() == label]  # type: ignore[attr-defined]
    return [(float(x.get_xdata()[0]), 0.0) for x in lines]


def test_a_picture_in_a_page_keeps_its_texts_and_names_no_colour_of_its_own(
    small_verdict: Verdict,
) -> None:
    text = figure.svg(figure.curve(small_verdict), "curve", 'say "<this>"')
    assert text.startswith('<svg role="img" aria-label="say &quot;&lt;this>&quot;"')
    assert ">block5</text>" in text
    assert "var(--frozen)" in text
    assert not re.search(r"http|<\?xml|DOCTYPE|DejaVu", text)


def test_a_picture_as_a_file_is_the_same_at_every_writing(small_verdict: Verdict) -> None:
    first, second = (figure.svg_file(figure.curve(small_verdict), "curve") for _ in range(2))
    assert first == second
    assert first.startswith(b"<?xml")
    image = Image.open(io.BytesIO(figure.png_file(figure.curve(small_verdict))))
    assert image.size == (2 * figure.WIDE[0], 2 * figure.WIDE[1])


# ------------------------------------------------------------------ smaller pools and sources
def test_the_answer_is_drawn_against_the_number_of_labels_with_the_controls(
    small_verdict: Verdict,
) -> None:
    assert figure.sizes(small_verdict) is None
    smaller = [replace(small_verdict, pool_images=n) for n in (50, 120)]
    drawn = figure.sizes(replace(small_verdict, smaller=smaller))
    assert drawn is not None
    (axes,) = drawn.axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["50", "120", "359"]
    lines = {line.get_label(): line for line in axes.containers}
    assert list(lines) == [
        "recommended", "all blocks frozen", "train all blocks", "from scratch", "raw pixels",
    ]  # fmt: skip
    (data, *_) = lines["recommended"]
    assert data.get_ydata().tolist() == pytest.approx([100 * small_verdict.mean_score] * 3)


def test_each_of_several_sources_has_a_panel_of_its_own_on_one_scale(
    small_verdict: Verdict,
) -> None:
    one = small_verdict.recommended.source
    rows = [*small_verdict.plans, *(replace(row, source="other") for row in small_verdict.plans)]
    points = [*small_verdict.curve, *(replace(p, source="other") for p in small_verdict.curve)]
    drawn = figure.curve(replace(small_verdict, plans=rows, curve=points))
    assert [axes.get_title(loc="left") for axes in drawn.axes] == [one, "other"]
    first, second = (axes.get_ylim() for axes in drawn.axes)
    assert first == second
    ringed = [any(line.get_label() == "recommended" for line in axes.lines) for axes in drawn.axes]
    assert ringed == [True, False]
