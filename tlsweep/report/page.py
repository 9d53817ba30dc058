"""The report page: one HTML file that needs no other, for screens and paper, light and dark."""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tlsweep.report import figure, table
from tlsweep.report.material import Answered, Block, Material
from tlsweep.report.table import draws_words, effort_words, plan_words, seeds_words
from tlsweep.task import PERCENT, Measure, Unit
from tlsweep.verdict import PlanRow, Verdict

STATE_WORDS = {
    "frozen": "kept as it is",
    "adapted": "kept as it is, with trained additions",
    "tuned": "kept and trained further",
    "fresh": "trained anew",
    "dropped": "left out",
}
SCORES = {  # name: words, whether higher is better, what it is
    "log_me": ("LogME", True, "LogME: evidence of a linear model of the classes."),
    "h_score": ("H-score", True, "H-score: spread between classes against the spread within."),
    "leep": ("LEEP", True, "LEEP: how well the source's own answers tell the classes."),
    "frechet": ("Fréchet distance", False, "Fréchet distance: from the source's own images."),
    "cka_below": ("CKA", None, "CKA: likeness to the features one cut point below."),
}
ALL_CLASSES, CONFUSION = 20, 14  # classes that are shown at once; in a table of both
SHORT = 6  # letters of a class name that heads a column


def page(material: Material) -> str:
    """The page as HTML."""
    environment, verdict = _environment(), material.verdict
    pictures = _pictures(material)
    return environment.get_template("page.html.j2").render(
        m=material,
        verdict=verdict,
        recommended=verdict.recommended,
        several=len(verdict.sources) > 1,
        plans=sorted(verdict.plans, key=lambda row: -verdict.measure.score(row.out_of_fold)),
        pictures=pictures,
        picture=lambda name: Markup(pictures[name]),
        states=_states(material.blocks),
        state_words=STATE_WORDS,
        bar_words=", ".join(f"{block.name} {block.state}" for block in material.blocks),
        heading=_heading(verdict),
        scores=_scores(material.transfer),
        effort=effort_words(verdict),
        light=_colours(figure.LIGHT),
        dark=_colours(figure.DARK),
        **_units(verdict.measure.unit),
        **_classes(material.answered, environment),
        **_functions(),
        **_of_measure(verdict.measure),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tlsweep.report", "."),
        autoescape=True,  # names of classes, folders and studies are the user's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment


def _units(unit: Unit) -> dict[str, Any]:
    """How scores are written, in the text and in the cells of tables."""
    in_cells = "" if unit.is_short else _apart(unit)
    return {"unit": unit, "apart": _apart(unit), "cell": cell_of(unit), "in_cells": in_cells}


def _classes(answered: Answered, environment: Environment) -> dict[str, Any]:
    """The classes that are shown at once, the others, and their tables."""
    few = len(answered.classes) <= ALL_CLASSES
    ordered = sorted(answered.classes, key=lambda row: (math.isnan(row.accuracy), row.accuracy))
    template = environment.get_template("classes.html.j2")
    return {
        "shown_classes": answered.classes if few else ordered[:ALL_CLASSES],
        "other_classes": () if few else ordered[ALL_CLASSES:],
        "class_table": lambda rows: Markup(template.render(rows=rows, percent=percent)),
        "confusion": _confusion(answered),
    }


def _of_measure(measure: Measure) -> dict[str, Any]:
    """What the template calls, of one kind of examples."""
    named = partial(figure.words_of, things=measure.things)
    return {"words_of": named, "how": partial(_how, named=named), "things": measure.things}


def _functions() -> dict[str, Any]:
    """What the template calls."""
    return {
        "points": points,
        "unbroken": unbroken,
        "percent": percent,
        "with_interval": with_interval,
        "seeds_words": seeds_words,
        "draws_words": draws_words,
        "plan_words": plan_words,
        "base64": lambda content: base64.b64encode(content).decode(),
    }


def unbroken(text: str) -> str:
    """The text, with no line ending between a number and its percent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def percent(share: float) -> str:
    """0.9521 as ``95.2 %``, in one piece."""
    return unbroken(PERCENT.written(share))


def with_interval(score: float, interval: Sequence[float], unit: Unit) -> str:
    """``95.2 %  (93.5 to 96.6)``."""
    return unbroken(table.with_interval(score, interval, unit))


def _how(row: PlanRow, named: Callable[[str], str]) -> str:
    """What is done with the kept blocks, and which control the plan is."""
    if row.controls:
        return ", ".join(map(named, row.controls))
    own = f"{figure.WORDS[row.state]} ({plan_words(row.overrides)})"
    return row.state if row.state == "frozen" and not row.regions else own


def cell_of(unit: Unit) -> Callable[[float], str]:
    """How a score is written in a table of many: a long unit stands in the column's head."""
    return lambda score: unbroken(unit.written(score)) if unit.is_short else unit.number(score)


def points(difference: float, interval: Sequence[float], unit: Unit) -> str:
    """A difference of scores: ``+3.5  (+1.9 to +5.1)``."""
    low, high = map(unit.signed, interval)
    return f"{unit.signed(difference)}  ({low} to {high})"


def _colours(palette: figure.Palette) -> str:
    return " ".join(f"--{name}: {getattr(palette, name)};" for name in palette.__dataclass_fields__)


def _pictures(material: Material) -> dict[str, str]:
    """Each picture twice: as a desktop shows it, and as a phone does."""
    verdict = material.verdict
    found: dict[str, str] = {}
    for place, size in (("desk", figure.WIDE), ("phone", figure.NARROW)):
        drawn = {
            "curve": (figure.curve(verdict, size), _curve_words(verdict)),
            "cost": (
                figure.cost(verdict, size),
                f"{_heading(verdict)} against computation; numbers above.",
            ),
            "sizes": (
                figure.sizes(verdict, size),
                f"{_heading(verdict)} against the number of labels; numbers below.",
            ),
            "shifts": (
                figure.shifts(verdict, size),
                f"{_heading(verdict)} by cut point on shifted {verdict.measure.things}.",
            ),
            "learning": (
                figure.learning(material.trainings, verdict.measure, size),
                "Loss by epoch.",
            ),
        }
        for name, (picture, words) in drawn.items():
            if picture is not None:
                text = figure.svg(picture, f"{name}-{place}", words)
                found[name] = f'{found.get(name, "")}<div class="{place}">{text}</div>'
    return found


def _apart(unit: Unit) -> str:
    return f",{unit.apart}" if unit.apart else ""


def _heading(verdict: Verdict) -> str:
    words = verdict.measure.words
    return words[:1].upper() + words[1:]


def _curve_words(verdict: Verdict) -> str:
    written = verdict.measure.unit.written(verdict.score)
    return (
        f"{_heading(verdict)} against the cut point, with the controls; the table of every plan"
        f" holds the same numbers. Recommended: {verdict.recommended.keep_name}, {written}."
    )


def _states(blocks: Sequence[Block]) -> list[tuple[str, str]]:
    """Runs of blocks in one state, in words: ``block1 to block5``."""
    found = []
    for state, run in itertools.groupby(blocks, key=lambda block: block.state):
        names = [block.name for block in run]
        found.append((str(state), names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"))
    return found


def _confusion(answered: Answered) -> list[dict[str, Any]]:
    """Rows of the table of both; none where there are too many classes to be looked at."""
    if answered.confusion_kk is None or len(answered.classes) > CONFUSION:
        return []
    names = [row.name for row in answered.classes]
    as_they_are = max(len(name) for name in names) <= SHORT
    rows = []
    for true, (row, counts) in enumerate(zip(answered.classes, answered.confusion_kk, strict=True)):
        most = max(1, int(counts.sum()))
        cells = [
            {
                "n": int(n),
                "colour": "chosen" if true == answer else "tuned",
                "strength": round(15 + 55 * int(n) / most),
            }
            for answer, n in enumerate(counts)
        ]
        short = row.name if as_they_are else str(true + 1)
        rows.append({"name": row.name, "short": short, "cells": cells})
    return rows


def _scores(transfer: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The table of transferability scores; None without any."""
    known = [name for name in SCORES if any(row.get(name) is not None for row in transfer)]
    if not known:
        return None
    best = {}
    for name in known:
        values = [row[name] for row in transfer if row.get(name) is not None]
        higher = SCORES[name][1]
        if higher is not None and len(values) > 1:
            best[name] = max(values) if higher else min(values)
    rows = [
        {"cut": row["cut"], "cells": [_cell(row.get(name), best.get(name)) for name in known]}
        for row in transfer
    ]
    return {
        "columns": [(name, SCORES[name][0]) for name in known],
        "rows": rows,
        "words": " ".join(SCORES[name][2] for name in known),
    }


def _cell(value: float | None, best: float | None) -> tuple[str, bool]:
    return ("", False) if value is None else (f"{value:.3g}", value == best)
