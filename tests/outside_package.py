"""A package with sources and targets of its own, installed beside tlsweep."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from warm import Warm

FOLDER = Path(__file__).parent / "outside"
ROOT = Path(__file__).parents[1]
SOURCES = {
    "tiny": "tiny_source",
    "text_encoder": "text_encoder",
    "broken": "no_such_module",
    "lost": "no_such_package.module",
}
TARGETS = {"stripes": "stripes_target", "mood": "mood_target", "told": "told_target"}
TASKS = {"grades": "grades_task"}
SCHEDULES = {"pairs": "pairs_schedule"}
HEADS = {"normed": "normed_head"}
ALL = {
    "source": SOURCES,
    "target": TARGETS,
    "task": TASKS,
    "schedule": SCHEDULES,
    "record": {},
    "engine": {},
    "head": HEADS,
}


class Outside:
    """Runs tlsweep in ``folder``, where the package is installed. env: of its processes."""

    def __init__(self, folder: Path, python: Warm) -> None:
        self.python, self.folder, site = python, folder, folder / "site"
        shutil.copytree(FOLDER, site)
        about = site / "outside-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
        sections = {f"tlsweep.{kind}": entries for kind, entries in ALL.items()}
        lines = []
        for section, entries in sections.items():
            lines += [f"[{section}]", *(f"{name} = {module}" for name, module in entries.items())]
        (about / "entry_points.txt").write_text("\n".join(lines))
        path = f"{ROOT}{os.pathsep}{site}"
        self.env = {**os.environ, "PYTHONPATH": path, "TLSWEEP_CACHE": str(folder)}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``python -m tlsweep`` with these arguments."""
        return self.python(["-m", "tlsweep", *arguments], self.env, self.folder)
