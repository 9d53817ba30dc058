"""The page stands alone, holds the verdict's own numbers, and its figure can be read."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.text
import pytest
from hydra import compose, initialize_config_dir
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from tlsweep.config import read, to_yaml
from tlsweep.report import figure, table, write_report
from tlsweep.report.page import page
from tlsweep.verdict import Verdict

CONF = (Path(__file__).parent / ".." / ".." / "conf").resolve()
Make = Callable[..., Verdict]
LIGHT, DARK = b"light picture", b"dark picture"


def written(verdict: Verdict, look: str = "mlflow ui") -> str:
    return page(verdict, LIGHT, DARK, "study: <i>\n", look)


def on_terminal(verdict: Verdict, *files: Path) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table.verdict_box(verdict))
    console.print(table.where_next(verdict, files, "mlflow ui"), soft_wrap=True)
    return " ".join(console.export_text().replace("│", " ").split())


class Loads(HTMLParser):
    """Everything that a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [v or "" for k, v in attrs if k in ("src", "srcset", "href", "data")]


def test_the_page_loads_nothing_but_what_is_in_it(small_verdict: Verdict) -> None:
    text = written(small_verdict)
    assert all(address.startswith("data:image/png;base64,") for address in Loads(text).found)
    assert "<script" not in text
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_the_page_shows_each_picture_in_its_own_appearance(small_verdict: Verdict) -> None:
    text = written(small_verdict)
    light, dark = (base64.b64encode(b).decode() for b in (LIGHT, DARK))
    assert re.search(rf'<source srcset="[^"]*{dark}" media="\(prefers-color-scheme: dark\)"', text)
    assert re.search(rf'<img src="[^"]*{light}"', text)
    assert "@media (prefers-color-scheme: dark)" in text


def test_a_users_text_is_never_taken_for_html(small_verdict: Verdict) -> None:
    verdict = replace(
        small_verdict,
        study="<b>bold</b>",
        curve=[replace(p, cut="<img src=x>") for p in small_verdict.curve],
    )
    text = written(verdict, look="mlflow ui '<x>'")
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    for raw in ("<b>", "<img src=x>", "<x>", "<i>"):
        assert raw not in text


def test_every_number_of_the_verdict_is_on_the_page(small_verdict: Verdict) -> None:
    text = written(small_verdict)
    shown = re.findall(r"(\d+\.\d) %  \((\d+\.\d) to (\d+\.\d)\)", text)
    best = small_verdict.best.report
    assert best is not None
    scores = [(small_verdict.score, small_verdict.interval)] * 2
    scores += [(best.score, best.interval)]
    scores += [(c["score"], c["interval"]) for c in small_verdict.controls.values()]
    scores += [(p.score, p.interval) for p in small_verdict.curve]
    expected = [tuple(f"{100 * x:.1f}" for x in (score, *interval)) for score, interval in scores]
    assert shown == expected
    for control in small_verdict.controls.values():
        assert f"{100 * control['recommended_minus_this']:+.1f}  (" in text
    assert small_verdict.sentence in text
    for count in ("359 labelled images", "719 images", "22 trained plans", "184 seconds"):
        assert count in text


def test_where_the_best_plan_is_recommended_it_is_shown_once(make_verdict: Make) -> None:
    verdict = make_verdict(["input", *(f"block{i}" for i in range(1, 9))])
    one = replace(verdict, best=replace(verdict.best, overrides=verdict.recommended.overrides))
    assert "best out of fold" in written(verdict)
    assert "best out of fold" not in written(one)
    assert "best " in on_terminal(verdict)
    assert " best " not in on_terminal(replace(one, sentence=""))


def test_a_control_that_had_not_settled_is_marked(small_verdict: Verdict) -> None:
    text = on_terminal(small_verdict)
    assert text.count("still improving") == 1
    assert re.search(r"scratch \d+\.\d % \([\d. to]+\) \(still improving\)", text)


def test_the_terminal_shows_every_control_and_the_most_frequent_class(
    small_verdict: Verdict,
) -> None:
    text = on_terminal(small_verdict)
    for name, control in small_verdict.controls.items():
        assert f"{name.replace('_', ' ')} {table.percent(control['score'])}" in text
    assert "most frequent class 12.0 %" in text


def test_the_terminal_shows_how_far_the_seeds_of_a_trained_plan_spread(
    small_verdict: Verdict,
) -> None:
    assert "seeds: mean" not in on_terminal(small_verdict)
    spread = replace(small_verdict, seed_scores=[0.9, 0.92, 0.88], mean_score=0.9)
    assert "3 seeds: mean 90.0, 88.0 to 92.0" in on_terminal(spread)


def test_without_a_record_the_page_names_none(small_verdict: Verdict) -> None:
    assert "MLflow" in written(small_verdict)
    assert "MLflow" not in written(small_verdict, look="")


def test_what_was_not_measured_as_asked_is_said_on_the_page_and_the_terminal(
    small_verdict: Verdict,
) -> None:
    lacking = replace(small_verdict, shortfalls=["finetune: 1 of 3 replicates failed: OSError"])
    for text in (written(lacking), on_terminal(lacking)):
        assert "finetune: 1 of 3 replicates failed: OSError" in text
    for text in (written(small_verdict), on_terminal(small_verdict)):
        assert "not measured" not in text.lower()


def test_the_files_are_written_whole_and_agree(small_verdict: Verdict, tmp_path: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        settings = read(compose("config"))
    files = write_report(tmp_path, small_verdict, settings, "mlflow ui")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f.name for f in files)
    assert json.loads((tmp_path / "verdict.json").read_text()) == small_verdict.as_json()
    text = (tmp_path / "report.html").read_text()
    assert base64.b64encode((tmp_path / "curve.png").read_bytes()).decode() in text
    assert to_yaml(settings).splitlines()[0] in text


# ------------------------------------------------------------------ the figure
@pytest.mark.parametrize("palette", [figure.LIGHT, figure.DARK])
def test_the_figure_is_a_picture_of_the_size_that_the_page_says(
    small_verdict: Verdict, palette: figure.Palette
) -> None:
    image = Image.open(io.BytesIO(figure.curve_png(small_verdict, palette)))
    assert (image.format, image.size) == ("PNG", (1440, 840))
    assert f'width="{image.width}" height="{image.height}"' in written(small_verdict)
    colours = {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in image.convert("RGB").get_flattened_data()}
    assert {palette.paper, palette.frozen, palette.tuned, palette.chosen} <= colours


def _drawn(verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> Figure:
    made: list[Figure] = []

    def catch(drawn: Figure) -> FigureCanvasAgg:
        made.append(drawn)
        return FigureCanvasAgg(drawn)

    monkeypatch.setattr(figure, "FigureCanvasAgg", catch)
    figure.curve_png(verdict)
    return made[0]


@pytest.mark.parametrize("case", ["small", "large", "longest study name"])
def test_no_text_of_the_figure_overlaps_another_or_leaves_it(
    case: str,
    small_verdict: Verdict,
    large_verdict: Verdict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verdict = {
        "small": small_verdict,
        "large": large_verdict,
        "longest study name": replace(large_verdict, study="a_name_of_" * 10),
    }[case]
    drawn = _drawn(verdict, monkeypatch)
    width, height = 1440, 840
    (axes,) = drawn.axes
    low, high = axes.get_ylim()  # matplotlib keeps labels beyond both ends, and does not draw them
    beyond = [t for t in axes.get_yticklabels() if not low <= t.get_position()[1] <= high]
    legend = axes.get_legend()
    assert legend is not None
    labels = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label]
    (title,) = [t for t in axes.findobj(matplotlib.text.Text) if verdict.study in t.get_text()]
    texts = [t for t in [*labels, *legend.get_texts(), title] if t not in beyond]
    boxes = {id(t): t.get_window_extent() for t in texts}
    for t in texts:
        box = boxes[id(t)]
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, (t.get_text(), box)
    upright = [t for t in texts if t.get_rotation() in (0, 90)]
    for i, a in enumerate(upright):
        for b in upright[i + 1 :]:
            assert not boxes[id(a)].overlaps(boxes[id(b)]), (a.get_text(), b.get_text())
    # turned labels run side by side: what has to hold is a line's height between two of them
    turned = sorted(boxes[id(t)].x1 for t in texts if t.get_rotation() == 40)
    gaps = [b - a for a, b in itertools.pairwise(turned)]
    assert all(gap * 0.64 > 11 for gap in gaps)  # 0.64: sine of 40 degrees; 11 px: a small letter
    assert bool(turned) == (case != "small")


def test_controls_have_lines_that_differ(
    small_verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    (axes,) = _drawn(small_verdict, monkeypatch).axes
    names = {n.replace("_", " ") for n in small_verdict.controls}
    lines = [x for x in axes.lines if str(x.get_label()).rsplit("  ", 1)[0] in names]
    assert len({str(x._unscaled_dash_pattern) for x in lines}) == len(lines) == 5


def test_a_verdict_with_a_single_point_and_no_controls_can_be_drawn(
    small_verdict: Verdict,
) -> None:
    bare = replace(small_verdict, controls={}, curve=small_verdict.curve[:1])
    assert figure.curve_png(bare).startswith(b"\x89PNG")
    # two headings, the recommended plan and the best one
    assert written(replace(bare, curve=[])).count("<tr>") == 4


# ------------------------------------------------------------------ the terminal
def test_the_terminal_shows_the_sentence_the_overrides_and_the_files(
    small_verdict: Verdict, tmp_path: Path
) -> None:
    overrides = ["plan=last_layers", "plan.freeze=block2", "train.lr=0.003"]
    recommended = replace(small_verdict.recommended, overrides=overrides)
    shown = replace(small_verdict, recommended=recommended)
    text = on_terminal(shown, tmp_path / "report.html")
    assert small_verdict.sentence in text
    assert " ".join(overrides) in text
    assert (
        table.with_interval(small_verdict.score, small_verdict.interval).replace("  ", " ") in text
    )
    assert "report.html" in text.replace(" ", "")


@pytest.mark.parametrize(("share", "text"), [(0.9521, "95.2 %"), (1.0, "100.0 %"), (0, "0.0 %")])
def test_a_share_is_written_in_percent(share: float, text: str) -> None:
    assert table.percent(share) == text
