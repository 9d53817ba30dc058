"""Whole sweeps as a user runs them, defaults and all: what they take, recommend and score."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from saved import saved
from table import Table, percent
from tasks import mobilenet

SEEDS = (1, 2, 3)
# (archive, pixels, share of the images that is quoted, images of the pool)
FOLDERS = {
    "hymenoptera": ("hymenoptera", 128, 0.385, None),
    "rsscn7": ("rsscn7_128", 64, 0.855, 249),
}
COLUMNS = (
    "data, split seed", "seconds", "recommended", "report", "95 % interval", "best cut point",
    "all frozen", "all trained", "scratch",
)  # fmt: skip
Say = Callable[[str], None]


def whole_sweeps(real: Path | None, kept: Path | None, say: Say) -> list[Table]:
    """Three sweeps of each data set, one after the other; those in ``kept`` are not run again."""
    with ExitStack() as stack:
        folder = kept / "sweeps" if kept else Path(stack.enter_context(TemporaryDirectory()))
        rows, outputs = [], {}
        for data in ("digits", *(FOLDERS if real is not None else ())):
            lines = () if data == "digits" else _lines(stack, real, data)
            for seed in SEEDS:
                say(f"a whole sweep: {data}, split seed {seed}")
                verdict = _verdict(folder / f"{data}-{seed}", [*lines, f"target.split_seed={seed}"])
                rows.append(_row(f"{data}, {seed}", verdict))
                outputs[f"{data}, {seed}"] = folder / f"{data}-{seed}"
        not_trained = saved(outputs)
    notes = [
        "`python -m tlsweep -m` with its defaults; hymenoptera and rsscn7 with MobileNetV2"
        " (ImageNet) at 128 and 64 px, pool and report split drawn anew from all images (rsscn7:"
        " a pool of 249).",
        "Best cut point: of the frozen curve on the report split, which nobody knows beforehand;"
        " all trained and scratch: mean of the final seeds, - where the minutes did not hold them.",
    ]
    return [Table("Whole sweeps", COLUMNS, rows, notes), not_trained]


def _lines(stack: ExitStack, real: Path | None, data: str) -> tuple[str, ...]:
    archive, pixels, share, pool = FOLDERS[data]
    assert real is not None
    root = Path(stack.enter_context(TemporaryDirectory()))
    _unpack(real / archive / f"{archive}.zip", root)
    size = () if pool is None else (f"target.fit_size={pool}",)
    return (
        *mobilenet(real), f"source.image_size={pixels}", "target=image_folder",
        f"target.root={root}", f"target.report_fraction={share}", *size,
    )  # fmt: skip


def _unpack(archive: Path, root: Path) -> None:
    """One folder a class, of all images, whatever part they come in."""
    with TemporaryDirectory() as folder, zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
        for image in sorted(Path(folder).rglob("*.*")):
            part, name = image.parents[1].name, image.parent.name
            (root / name).mkdir(exist_ok=True)
            shutil.move(image, root / name / f"{part}_{image.name}")


def _verdict(output: Path, lines: list[str]) -> Mapping[str, Any]:
    if not (found := list(output.glob("*/verdict.json"))):
        command = [sys.executable, "-m", "tlsweep", "-m", *lines, f"output_dir={output}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=dict(os.environ))
        found = list(output.glob("*/verdict.json"))
    verdict: Mapping[str, Any] = json.loads(found[0].read_text())
    return verdict


def _row(name: str, verdict: Mapping[str, Any]) -> list[str]:
    r = verdict["recommended"]
    how = "frozen" if r["state"] == "frozen" else r["plan"].replace("_", " ")
    low, high = verdict["interval"]
    frozen = [point["score"] for point in verdict["curve"] if point["state"] == "frozen"]
    controls = [
        percent(verdict["controls"][key]["score"]) if key in verdict["controls"] else "-"
        for key in ("feature_extractor", "finetune", "scratch")
    ]
    return [
        name, f"{verdict['seconds']:.0f}", f"{r['keep_name']}, {how}", percent(verdict["score"]),
        f"{percent(low)} to {percent(high)}", percent(max(frozen)), *controls,
    ]  # fmt: skip
