"""Memory of a survey in a process of its own, at 1x and 8x the images."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from effort import Effort
from table import Table
from tasks import Task

STATUS = Path("/proc/self/status")
TIMES = 8
PERIOD = 0.005  # seconds between two looks
NO_ROOM = 1e-6  # GB for decoded images: they are decoded batch by batch
DIGITS = 100  # of the embedded task at 1x
Say = Callable[[str], None]
COLUMNS = (
    "memory of a survey, MiB", "images", "before it", "peak", "grown by", "peak with file pages",
    "pixels decoded", "features stored",
)  # fmt: skip


@dataclass
class Peak:
    """The largest values seen, in MiB.

    anonymous: what the process itself needs; resident: that and pages of files, the store's among
    them, which the system takes back when it needs room.
    """

    anonymous: float = 0.0
    resident: float = 0.0

    def look(self) -> None:
        """Read them once more."""
        fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        self.anonymous = max(self.anonymous, int(fields["RssAnon"].split()[0]) / 1024)
        self.resident = max(self.resident, int(fields["VmRSS"].split()[0]) / 1024)


@contextmanager
def watched() -> Iterator[Peak]:
    """Look all the time, from a thread."""
    peak, over = Peak(), threading.Event()

    def watch() -> None:
        while not over.wait(PERIOD):
            peak.look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def memory(task: Task, effort: Effort, say: Say) -> Table:
    """Survey the same task at both sizes."""
    title = f"{task.name}, {task.model}: a survey in a process of its own"
    if not STATUS.exists():
        return Table(title, COLUMNS, [], [f"Not measured: this system has no {STATUS}."])
    sizes = [("1x the images", 1, NO_ROOM), (f"{TIMES}x the images", TIMES, NO_ROOM)]
    if effort.memory_default and task.folder is not None:
        sizes.append((f"{TIMES}x, decoded images kept (the default)", TIMES, 4.0))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        # side by side: nothing is timed here
        lines = [_lines(task, effort, times, Path(folder)) for _, times, _ in sizes]
        found = pool.map(_child, lines, [ram_gb for _, _, ram_gb in sizes])
        runs = {name: run for (name, _, _), run in zip(sizes, found, strict=True)}
    for name, run in runs.items():
        say(f"{task.name}: memory: {name}: peak {run['anonymous']:.0f} MiB")
    small, large = list(runs.values())[:2]
    added = large["anonymous"] - small["anonymous"]
    notes = [
        "Resident anonymous memory (RssAnon), looked at every"
        f" {1000 * PERIOD:.0f} ms: what the process needs. Pages of the mapped store are in the"
        " third column from the right only; the system takes them back when it needs room.",
        f"{large['images'] - small['images']:.0f} more images added {added:.0f} MiB to the peak,"
        f" {1024 * added / (large['images'] - small['images']):.1f} KiB each; its pixels are"
        f" {1024 * large['pixels'] / large['images']:.1f} KiB, its features at all cut points"
        f" {1024 * large['stored'] / large['images']:.1f} KiB.",
    ]
    return Table(title, COLUMNS, [_row(name, run) for name, run in runs.items()], notes)


def _row(name: str, run: dict[str, float]) -> list[str]:
    peaks = [run["before"], run["anonymous"], run["anonymous"] - run["before"], run["resident"]]
    sizes = [f"{run[key]:.0f}" for key in ("pixels", "stored")]
    return [name, f"{run['images']:.0f}", *(f"{value:.0f}" for value in peaks), *sizes]


def _lines(task: Task, effort: Effort, times: int, folder: Path) -> list[str]:
    """The task's overrides for so many times the images."""
    if task.folder is None:
        few = DIGITS if effort.fit_size is None else effort.fit_size
        return [*task.lines, f"target.fit_size={times * few}"]
    source = task.folder / "train"
    root = folder / f"{times}x"
    for label in sorted(path for path in source.iterdir() if path.is_dir()):
        if not (root / label.name).exists():
            (root / label.name).mkdir(parents=True)
            for file in sorted(label.iterdir())[: effort.memory_images]:
                for copy in range(times):
                    os.link(file, root / label.name / f"{copy}-{file.name}")
    kept = [line for line in task.lines if not line.startswith(("target.root", "target.fit_size"))]
    return [*kept, f"target.root={root}"]


def _child(lines: list[str], ram_gb: float) -> dict[str, float]:
    ram = [f"target.ram_gb={ram_gb}", "target.disk_gb=0"] if "target=image_folder" in lines else []
    done = subprocess.run(
        [sys.executable, __file__, *lines, *ram], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _survey(lines: list[str]) -> dict[str, float]:
    """In the process that is measured."""
    import torch
    from job import DRAWS, SHARE

    from tlsweep.survey.surveyor import survey
    from tlsweep.trial import resolve

    task = Task("", "", tuple(lines))
    with tempfile.TemporaryDirectory() as folder:
        settings = task.settings(
            f"features.cache_dir={folder}",
            f"sweep.survey.fit_shares=[{SHARE}]",
            f"sweep.survey.seeds={DRAWS}",
        )
        question = task.question()
        # a first pass of a model makes what stays the same from then on
        model, before = question.source.model(), Peak()
        with torch.no_grad():
            model(question.source.example())
        before.look()
        with watched() as peak:
            inputs = resolve(settings, question).inputs
            survey(inputs, settings.sweep.survey, None, lambda *_: None)
        stored = sum(path.stat().st_size for path in Path(folder).rglob("data.bin"))
    images = len(question.partition.pool)
    spec = question.source.spec
    return {
        "images": images,
        "before": before.anonymous,
        "anonymous": peak.anonymous,
        "resident": peak.resident,
        "pixels": images * spec.channels * spec.size**2 / 2**20,
        "stored": stored / 2**20,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_survey(sys.argv[1:])) + "\n")
