"""The pictures of a verdict, as SVG whose colours follow the page's appearance.

The curve shows one population: the report split, by models that were trained on the whole pool.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from tlsweep.report.material import Training
from tlsweep.survey.rows import Frozen
from tlsweep.task import Measure, Unit
from tlsweep.verdict import CurvePoint, Interval, PlanRow, Verdict, raw


@dataclass(frozen=True)
class Palette:
    """Colours of one appearance. States differ in hue and in marker, for all eyes."""

    paper: str
    ink: str
    faint: str
    frozen: str
    tuned: str
    fresh: str
    adapted: str
    chosen: str


LIGHT = Palette(
    "#ffffff", "#1d2733", "#6b7886", "#1f6fb4", "#c8561b", "#8a4fbf", "#9a7b00", "#14804a"
)
DARK = Palette(
    "#14181d", "#e4e9ee", "#93a0ad", "#6db3f2", "#f0975c", "#c39bf0", "#dcc04a", "#4fce8c"
)
MARKERS = {"frozen": "o", "tuned": "s", "fresh": "D", "adapted": "^", "random": "X"}
WORDS = {
    "frozen": "frozen, a new head on top",
    "tuned": "trained further",
    "fresh": "with new blocks",
    "adapted": "frozen, with trained additions",
    "random": "random weights",
}
WIDE, NARROW = (920, 470), (350, 430)  # pixels, of a desktop's page and of a phone's
LINES = ("--", ":", "-.", (0, (10, 3)))
LINE_CONTROLS = ("scratch", "finetune")  # the others are points: they stand at a cut point


# ---------------------------------------------------------------------- pictures
def curve(verdict: Verdict, size: tuple[int, int] = WIDE) -> Figure:
    """Report score against the cut point, with controls, and the recommended plan ringed.

    Of several sources one panel each, below one another.
    """
    # the recommended one's panel is there without a point, too: it has the ring and the lines
    shown = {verdict.recommended.source, *(p.source for p in verdict.curve)}
    sources = [name for name in verdict.sources if name in shown]
    n, measure = len(sources), verdict.measure
    figure = _figure((size[0], size[1] if n == 1 else round(0.75 * n * size[1])))
    scores = [x for p in verdict.curve for x in p.interval] + list(verdict.interval)
    scores += [x for c in verdict.controls.values() for x in c["interval"]]
    for place, source in enumerate(sources, start=1):
        axes = figure.add_subplot(n, 1, place)
        _dress(axes, size)
        _curve_of(axes, verdict, source, size)
        _heights(axes, scores, measure)
        lines = {
            kind: control
            for name, control in verdict.controls.items()
            if (kind := name.partition(" of ")[0]) in LINE_CONTROLS and control["source"] == source
        }
        _lines(axes, lines, measure, size)
        _score_axis(axes, measure, f"{verdict.report_images} new {measure.things}")
        if n > 1:
            axes.set_title(source, loc="left", color=LIGHT.ink, fontsize=_letters(size))
    _legend(figure, figure.axes, size)
    return figure


def _curve_of(axes: Any, verdict: Verdict, source: str, size: tuple[int, int]) -> None:
    """The points of one source at its cut points."""
    measure, unit, r = verdict.measure, verdict.measure.unit, verdict.recommended
    own = [p for p in verdict.curve if p.source == source]
    frozen = [p for p in own if p.state == "frozen" and p.index > 0]
    axes.plot(
        [p.index for p in frozen], _shown(frozen, unit), color=LIGHT.frozen, lw=1.4, alpha=0.8
    )
    _points(axes, frozen, unit, "frozen", WORDS["frozen"])
    tuned = [p for p in own if p.state == "tuned"]
    _points(axes, tuned, unit, "tuned", WORDS["tuned"])
    pixels = [p for p in own if p.index == 0]
    _points(axes, pixels, unit, "frozen", raw(measure.things), hollow=True)
    if random := _random_point(verdict, source):
        _points(axes, [random], unit, "random", WORDS["random"], shift=0.15)
    names = {p.index: p.cut for p in own}
    last = max(names, default=0)
    if source == r.source:
        _ring(axes, verdict, r.keep)
        names[r.keep], last = r.keep_name, r.n_blocks
    _cut_axis(axes, names, last, size)


def survey(
    points: Sequence[Frozen],
    scores: Sequence[Interval],
    measure: Measure,
    images: int,
    size: tuple[int, int] = WIDE,
) -> Figure:
    """Out-of-fold score of every frozen cut point, of the source's weights and of random ones.

    scores: of the points, in the metric's unit; images: that were each held out once.
    """
    figure, axes = _empty(size)
    unit = measure.unit
    shown = [
        CurvePoint("", p.cut, p.index, p.weights, own.score, own.as_list(), 1)
        for p, own in zip(points, scores, strict=True)
    ]
    own = [p for p in shown if p.state == "source"]
    for state, words, mine in (
        ("frozen", "frozen, the source's weights", own),
        ("random", WORDS["random"], [p for p in shown if p.state == "random"]),
    ):
        axes.plot(
            [p.index for p in mine], _shown(mine, unit), color=_colour(state), lw=1.2, alpha=0.7
        )
        _points(axes, mine, unit, state, words, shift=0.08 if state == "random" else -0.08)
    _cut_axis(axes, {p.index: p.cut for p in own}, max(p.index for p in own), size)
    _heights(axes, [x for p in shown for x in p.interval], measure)
    _score_axis(axes, measure, f"{images} {measure.things}, each held out")
    _legend(figure, [axes], size)
    return figure


def cost(verdict: Verdict, size: tuple[int, int] = WIDE) -> Figure:
    """Report score of every plan against the computation of one forward pass."""
    figure, axes = _empty((size[0], min(size[1], 400)))
    groups: dict[str, list[PlanRow]] = {}
    for row in verdict.plans:
        if row.report is not None:
            groups.setdefault(row.state, []).append(row)
    for kind, rows in groups.items():
        x = [row.flops / 1e6 for row in rows]
        times = verdict.measure.unit.times
        y = [times * row.report.mean for row in rows if row.report is not None]
        axes.plot(x, y, MARKERS[kind], color=_colour(kind), markersize=7, label=WORDS[kind])
    _ring(axes, verdict, verdict.recommended.flops / 1e6)
    of_one = f"computation of one {verdict.measure.thing}, million operations (FLOPs)"
    axes.set_xlabel(of_one, color=LIGHT.ink)
    _score_axis(axes, verdict.measure, f"new {verdict.measure.things}")
    _legend(figure, [axes], size)
    return figure


def sizes(verdict: Verdict, size: tuple[int, int] = WIDE) -> Figure | None:
    """Report score of the recommended plan and the controls against the number of labels.

    None where only one pool was asked for.
    """
    if not verdict.smaller:
        return None
    figure, axes = _empty((size[0], min(size[1], 400)))
    pools, measure = [*verdict.smaller, verdict], verdict.measure
    own = [CurvePoint("", "", v.pool_images, "", v.mean_score, v.interval, 1) for v in pools]
    series = {"recommended": ("chosen", "o", own)}
    for name, colour, marker in (
        ("feature_extractor", "frozen", "o"),
        ("finetune", "tuned", "s"),
        ("scratch", "fresh", "D"),
        ("raw_pixels", "faint", "X"),
    ):
        found = [(v.pool_images, v.controls[name]) for v in pools if name in v.controls]
        points = [CurvePoint("", "", n, "", c["score"], c["interval"], 1) for n, c in found]
        if points:
            series[words_of(name, measure.things)] = (colour, marker, points)
    for place, (words, (colour, marker, points)) in enumerate(series.items()):
        x = [p.index * (1 + 0.012 * place) for p in points]  # bars beside one another
        _series(axes, x, points, measure.unit, getattr(LIGHT, colour), marker, words)
    axes.set_xscale("log")
    axes.set_xticks([v.pool_images for v in pools], [f"{v.pool_images:,}" for v in pools])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(f"labelled {measure.things} that choose and train", color=LIGHT.ink)
    _heights(
        axes, [x for _, _, points in series.values() for p in points for x in p.interval], measure
    )
    _score_axis(axes, measure, f"{verdict.report_images} new {measure.things}")
    _legend(figure, [axes], size)
    return figure


def shifts(verdict: Verdict, size: tuple[int, int] = WIDE) -> Figure | None:
    """Score of the frozen cut points on the report split and on each shift.

    Of the recommended plan's source; None where no shift was asked for.
    """
    source, measure = verdict.recommended.source, verdict.measure
    like = [p for p in verdict.curve if p.state == "frozen" and p.source == source]
    curves = {f"new {measure.things}": {p.index: (p.cut, p.score) for p in like}}
    for one in verdict.shifts:
        own = [p for p in one.curve if p.source == source]
        curves[f"with {one.name}"] = {p.index: (p.cut, p.score) for p in own}
    curves = {words: points for words, points in curves.items() if points}
    if not verdict.shifts or not curves:
        return None
    figure, axes = _empty(size)
    colours = (LIGHT.ink, LIGHT.frozen, LIGHT.tuned, LIGHT.fresh, LIGHT.adapted, LIGHT.chosen)
    for place, (words, points) in enumerate(curves.items()):
        y = [measure.unit.times * score for _, score in points.values()]
        axes.plot(
            list(points), y, marker="osD^vP"[place % 6], color=colours[place % 6], markersize=6,
            linestyle=("-", *LINES)[place // 6 % 5], linewidth=1.4, label=words,
        )  # fmt: skip
    names = {i: cut for points in curves.values() for i, (cut, _) in points.items()}
    _heights(axes, [s for points in curves.values() for _, s in points.values()], measure)
    _cut_axis(axes, names, max(names), size)
    _score_axis(axes, measure, "heads on frozen blocks")
    _legend(figure, [axes], size)
    return figure


def _series(
    axes: Any,
    x: Sequence[float],
    points: Sequence[CurvePoint],
    unit: Unit,
    colour: str,
    marker: str,
    words: str,
) -> None:
    """Points with their intervals, joined by a line."""
    y = _shown(points, unit)
    below = [max(0.0, unit.times * (p.score - p.interval[0])) for p in points]
    above = [max(0.0, unit.times * (p.interval[1] - p.score)) for p in points]
    axes.errorbar(
        x, y, yerr=[below, above], color=colour, marker=marker, markersize=7, linewidth=1.4,
        elinewidth=1.1, capsize=2.5, label=words,
    )  # fmt: skip


def learning(
    trainings: Sequence[Training], measure: Measure, size: tuple[int, int] = WIDE
) -> Figure | None:
    """Loss and held-out score by epoch, thaws as lines; None where nothing had epochs."""
    held_out = _with_unit(f"held-out {measure.words}", measure.unit)
    panels = [
        ("fit_loss", "training loss", [t for t in trainings if not t.held_out]),
        (f"select_{measure.name}", held_out, [t for t in trainings if t.held_out]),
    ]
    panels = [(key, words, with_) for key, words, all_ in panels if (with_ := _having(all_, key))]
    if not panels:
        return None
    narrow = size[0] < 500
    height = 260 * len(panels) + 60 if narrow else 360
    figure = _figure((size[0], height))
    shape = (len(panels), 1) if narrow else (1, len(panels))
    labels = list(dict.fromkeys(t.label for t in trainings))
    for place, (key, words, own) in enumerate(panels, start=1):
        axes = figure.add_subplot(*shape, place)
        _dress(axes, size)
        times = 1.0 if key == "fit_loss" else measure.unit.times
        _trainings(axes, own, key, labels, times)
        axes.set_xlabel("epoch", color=LIGHT.ink)
        axes.set_ylabel(words, color=LIGHT.ink)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, figure.axes[:1], size)
    return figure


# ---------------------------------------------------------------------- as text
def svg(figure: Figure, name: str, title: str) -> str:
    """A picture for a page: colours are the page's own, texts stay texts.

    name: tells the identifiers of one picture from those of another; title: for who cannot see it.
    """
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' (?:xmlns(?::xlink)?|version|width|height)="[^"]*"', "", text, count=5)
    text = re.sub(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>", "", text)
    for field in LIGHT.__dataclass_fields__:
        text = text.replace(getattr(LIGHT, field), f"var(--{field})")
    # the browser's own letters: it has no others
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{_attribute(title)}"', 1)


def svg_file(figure: Figure, name: str) -> bytes:
    """A picture as a file of its own, dark on white."""
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": name}):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", facecolor=LIGHT.paper, metadata=_NO_METADATA)
    return buffer.getvalue()


def png_file(figure: Figure) -> bytes:
    """A picture as PNG, twice as many pixels as its size says."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144, facecolor=LIGHT.paper)
    return buffer.getvalue()


_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


# ---------------------------------------------------------------------- parts
def _figure(size: tuple[int, int]) -> Figure:
    figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _empty(size: tuple[int, int]) -> tuple[Figure, Any]:
    figure = _figure(size)
    axes = figure.add_subplot()
    _dress(axes, size)
    return figure, axes


def _dress(axes: Any, size: tuple[int, int]) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=LIGHT.ink, labelsize=_letters(size))
    axes.xaxis.label.set_fontsize(_letters(size))
    axes.yaxis.label.set_fontsize(_letters(size))
    axes.grid(axis="y", color=LIGHT.faint, alpha=0.25, linewidth=0.7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LIGHT.faint)


def _letters(size: tuple[int, int]) -> float:
    return 11 if size[0] < 500 else 12.5


def _colour(kind: str) -> str:
    return LIGHT.faint if kind == "random" else str(getattr(LIGHT, kind))


def _shown(points: Iterable[CurvePoint], unit: Unit) -> list[float]:
    return [unit.times * p.score for p in points]


def _with_unit(words: str, unit: Unit) -> str:
    return f"{words}, {unit.after.strip()}" if unit.after else words


def _score_axis(axes: Any, measure: Measure, of: str) -> None:
    axes.set_ylabel(_with_unit(f"{measure.words} on {of}", measure.unit), color=LIGHT.ink)


def _points(
    axes: Any,
    points: Sequence[CurvePoint],
    unit: Unit,
    kind: str,
    words: str,
    *,
    shift: float = 0.0,
    hollow: bool = False,
) -> None:
    """Points with their intervals, at their cut points."""
    if not points:
        return
    x = [p.index + shift for p in points]
    y = _shown(points, unit)
    below = [max(0.0, unit.times * (p.score - p.interval[0])) for p in points]
    above = [max(0.0, unit.times * (p.interval[1] - p.score)) for p in points]
    colour = _colour(kind)
    axes.errorbar(
        x,
        y,
        yerr=[below, above],
        fmt="none",
        color=colour,
        ecolor=colour,
        elinewidth=1.1,
        capsize=2.5,
    )
    face = LIGHT.paper if hollow else colour
    axes.plot(x, y, MARKERS[kind], color=colour, markerfacecolor=face, markersize=7, label=words,
              zorder=3, linestyle="none")  # fmt: skip


def _ring(axes: Any, verdict: Verdict, x: float) -> None:
    """The recommended plan, at the mean of its trainings as all points are."""
    r, y = verdict.recommended, verdict.measure.unit.times * verdict.mean_score
    kind = "fresh" if r.regrow > r.keep and r.state == "frozen" else r.state
    if kind == "fresh" or r.regions:  # it lies on no curve
        axes.plot([x], [y], MARKERS[kind], color=_colour(kind), markersize=7,
                  label=WORDS[kind], linestyle="none")  # fmt: skip
    axes.plot([x], [y], "o", markersize=17, markerfacecolor="none", markeredgewidth=2.2,
              color=LIGHT.chosen, zorder=4, label="recommended", linestyle="none")  # fmt: skip


def _random_point(verdict: Verdict, source: str) -> CurvePoint | None:
    rows = [
        row for row in verdict.plans if row.source == source and "random_features" in row.controls
    ]
    own = source == verdict.recommended.source
    control = verdict.controls.get("random_features" if own else f"random_features of {source}")
    if control is None or not rows:
        return None
    cut, index = rows[0].cut, rows[0].index
    return CurvePoint(source, cut, index, "random", control["score"], control["interval"], 1)


def _heights(axes: Any, scores: Sequence[float], measure: Measure) -> None:
    times = measure.unit.times
    low, high = times * min(scores), times * max(scores)
    room = 0.06 * max(high - low, 0.05 * times * measure.scale)
    most = 1.01 * times * measure.high if measure.higher_is_better else math.inf
    axes.set_ylim(low - room, min(most, high + room))


def _lines(
    axes: Any, controls: Mapping[str, Mapping[str, Any]], measure: Measure, size: tuple[int, int]
) -> None:
    """Controls as lines with the band of their interval, labelled at their right end."""
    unit = measure.unit
    low, high = axes.get_ylim()
    lines = 2 if size[0] < 500 else 1  # of text, of each label
    least = (high - low) * lines * 1.5 * _letters(size) / (0.5 * size[1])
    at: list[float] = []
    for (name, control), style in zip(controls.items(), LINES, strict=False):
        score, ends = unit.times * control["score"], control["interval"]
        below, above = (unit.times * end for end in ends)
        axes.axhspan(below, above, color=LIGHT.faint, alpha=0.1, lw=0, zorder=0)
        axes.axhline(score, color=LIGHT.faint, linestyle=style, linewidth=1.4, zorder=1)
        # ordered from the best down: each label stands below the one before
        at.append(min(score, at[-1] - least) if at else score)
        still = "≥ " if measure.higher_is_better else "≤ "
        bound = "" if control["settled"] else still  # it was still improving
        between = "\n" if size[0] < 500 else " "
        text = f"{words_of(name, measure.things)}{between}{bound}{unit.written(control['score'])}"
        axes.annotate(
            text, (1.0, at[-1]), xytext=(6, 0), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", va="center", color=LIGHT.ink, fontsize=_letters(size) - 1,
            annotation_clip=False,
        )  # fmt: skip


def words_of(control: str, things: str) -> str:
    """A control's name in plain words. things: what the examples are called."""
    name, of, source = control.partition(" of ")
    words = {
        "scratch": "from scratch",
        "finetune": "train all blocks",
        "feature_extractor": "all blocks frozen",
        "raw_pixels": raw(things),
        "random_features": "random weights",
    }.get(name, name.replace("_", " "))
    return f"{words}{of}{source}"


def _cut_axis(axes: Any, names: Mapping[int, str], last: int, size: tuple[int, int]) -> None:
    room = size[0] / max(1, last + 1)  # pixels between two cut points
    step = max(1, -(-20 // int(max(room, 1))))
    ticks = sorted(names)[::-step][::-1]
    longest = max((len(names[t]) for t in ticks), default=0)
    crowded = longest * 7 > room * step
    axes.set_xticks(
        ticks, [names[t] for t in ticks], rotation=45 if crowded else 0,
        ha="right" if crowded else "center", rotation_mode="anchor",
    )  # fmt: skip
    axes.set_xlim(-0.5, last + 0.5)
    axes.set_xlabel("cut point: the blocks up to it are kept", color=LIGHT.ink)


def _legend(figure: Figure, panels: Sequence[Any], size: tuple[int, int]) -> None:
    handles, labels = (
        [one for axes in panels for one in axes.get_legend_handles_labels()[kind]]
        for kind in (0, 1)
    )
    first = dict(reversed(list(zip(labels, handles, strict=True))))  # one a label
    order = list(dict.fromkeys(labels))
    figure.legend(
        [first[label] for label in order], order, loc="outside upper left", frameon=False,
        ncols=min(len(order), 5) if size[0] > 500 else 1, labelcolor=LIGHT.ink,
        fontsize=_letters(size), handlelength=1.8, columnspacing=1.4, borderpad=0.1,
    )  # fmt: skip


def _having(trainings: Sequence[Training], key: str) -> list[Training]:
    return [t for t in trainings if len(t.epochs) > 1 and all(key in e for e in t.epochs)]


def _trainings(
    axes: Any, own: Sequence[Training], key: str, labels: Sequence[str], times: float
) -> None:
    colours = (LIGHT.frozen, LIGHT.tuned, LIGHT.fresh, LIGHT.faint)
    others = [label for label in labels if not any(t.recommended for t in own if t.label == label)]
    for t in own:
        place = 0 if t.recommended else others.index(t.label)
        colour = LIGHT.chosen if t.recommended else colours[place % 4]
        style: Any = "-" if t.recommended else LINES[place % 4]
        width = 2.0 if t.recommended else 1.4
        epochs = range(1, len(t.epochs) + 1)
        values = [times * e[key] for e in t.epochs]
        axes.plot(epochs, values, color=colour, linestyle=style, linewidth=width, label=t.label)
        for epoch in t.thaws:
            axes.axvline(epoch - 0.5, color=colour, linewidth=1, linestyle=":", label="blocks thaw")
