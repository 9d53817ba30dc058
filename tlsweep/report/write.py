"""Writes a verdict's files into the study's folder."""

from __future__ import annotations

import json
from pathlib import Path

from tlsweep.config import Settings, to_yaml
from tlsweep.report import figure
from tlsweep.report.page import page
from tlsweep.verdict import Verdict


def write_report(folder: Path, verdict: Verdict, settings: Settings, look: str) -> list[Path]:
    """verdict.json, curve.png and report.html in ``folder``; config.yaml is there already.

    look: the command that shows the record. Returns the files.
    """
    light, dark = (figure.curve_png(verdict, p) for p in (figure.LIGHT, figure.DARK))
    contents: dict[str, bytes] = {
        "verdict.json": (json.dumps(verdict.as_json(), indent=2) + "\n").encode(),
        "curve.png": light,
        "report.html": page(verdict, light, dark, to_yaml(settings), look).encode(),
    }
    for name, content in contents.items():
        part = folder / f"{name}.part"
        part.write_bytes(content)
        part.replace(folder / name)
    return [folder / name for name in contents]
