"""The curve: score against cut point, frozen and tuned, controls as lines."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tlsweep.verdict import CurvePoint, Verdict


@dataclass(frozen=True)
class Palette:
    """Colours of one appearance. frozen and tuned differ in hue and in marker, for all eyes."""

    paper: str
    ink: str
    faint: str
    frozen: str
    tuned: str
    chosen: str


LIGHT = Palette("#ffffff", "#1d2733", "#8793a1", "#1f6fb4", "#c8561b", "#14804a")
DARK = Palette("#14181d", "#e4e9ee", "#8793a1", "#6db3f2", "#f0975c", "#4fce8c")
MARKERS = {"frozen": "o", "tuned": "s"}
LINES = ("--", ":", "-.", (0, (12, 4)), (0, (4, 1, 1, 1, 1, 1)))  # one a control


def curve_png(verdict: Verdict, palette: Palette = LIGHT) -> bytes:
    """The curve of a verdict as a PNG of 1440 x 840 pixels."""
    figure = Figure(figsize=(9.6, 5.6), dpi=150, facecolor=palette.paper, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=palette.paper)
    for state, colour in (("frozen", palette.frozen), ("tuned", palette.tuned)):
        _line(axes, [p for p in verdict.curve if p.state == state], state, colour, palette)
    _controls(axes, verdict, palette)
    _recommended(axes, verdict, palette)
    _dress(axes, verdict, palette)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=palette.paper)
    return buffer.getvalue()


def _line(
    axes: Any, points: Sequence[CurvePoint], state: str, colour: str, palette: Palette
) -> None:
    if not points:
        return
    x = [p.index for p in points]
    y = [100 * p.score for p in points]
    below = [max(0.0, 100 * (p.score - p.interval[0])) for p in points]
    above = [max(0.0, 100 * (p.interval[1] - p.score)) for p in points]
    shift = -0.06 if state == "frozen" else 0.06  # else the bars of both lie on each other
    x_shifted = [i + shift for i in x]
    axes.plot(x_shifted, y, color=colour, linewidth=1.4, alpha=0.8, zorder=2)
    axes.errorbar(
        x_shifted, y, yerr=[below, above], fmt="none", ecolor=colour, elinewidth=1.1, capsize=2.5,
        zorder=2,
    )  # fmt: skip
    axes.plot(x_shifted, y, MARKERS[state], color=colour, markersize=6.5, label=state, zorder=3)


def _controls(axes: Any, verdict: Verdict, palette: Palette) -> None:
    ordered = sorted(verdict.controls.items(), key=lambda item: -item[1]["score"])
    for (name, control), style in zip(ordered, LINES[: len(ordered)], strict=True):
        text = f"{name.replace('_', ' ')}  {100 * control['score']:.1f}"
        axes.axhline(
            100 * control["score"], color=palette.faint, linestyle=style, linewidth=1.2, zorder=1,
            label=text,
        )  # fmt: skip


def _recommended(axes: Any, verdict: Verdict, palette: Palette) -> None:
    r = verdict.recommended
    shift = -0.06 if r.state == "frozen" else 0.06
    axes.plot(
        [r.keep + shift], [100 * verdict.score], "o", markersize=17, markerfacecolor="none",
        markeredgewidth=2.2, color=palette.chosen, zorder=4,
        label=f"recommended  {100 * verdict.score:.1f}",
    )  # fmt: skip


def _dress(axes: Any, verdict: Verdict, palette: Palette) -> None:
    names = {p.index: p.cut for p in verdict.curve}
    ticks = sorted(names)
    crowded = len(ticks) > 10 or max((len(names[t]) for t in ticks), default=0) > 9
    axes.set_xticks(
        ticks, [names[t] for t in ticks], rotation=40 if crowded else 0,
        ha="right" if crowded else "center",
    )  # fmt: skip
    axes.set_xlim(-0.5, verdict.recommended.n_blocks + 0.5)
    axes.set_xlabel("cut point: the blocks before it are kept", color=palette.ink)
    axes.set_ylabel("accuracy, %", color=palette.ink)
    percent = f"{verdict.confidence:.0%}".replace("%", " %")
    break_ = ":\n" if len(verdict.study) > 45 else ": "  # else it runs out of the picture
    axes.set_title(
        f"{verdict.study}{break_}{verdict.report_images} report images,"
        f" bars are {percent} intervals",
        color=palette.ink, fontsize=10.5 * min(1, 75 / len(verdict.study)), loc="left",
    )  # fmt: skip
    axes.tick_params(colors=palette.ink, labelsize=9)
    axes.grid(axis="y", color=palette.faint, alpha=0.25, linewidth=0.7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(palette.faint)
    axes.legend(
        loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, labelcolor=palette.ink,
        fontsize=9, labelspacing=1.0, handlelength=3.5,
    )  # fmt: skip
