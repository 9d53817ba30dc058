"""The full grids: every plan of a small space, trained once on each target, and how it did."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from tlsweep.study.storage import default_url, open_storage

# the default search space, with its ranges as a few values each
AXES: dict[str, tuple[str, ...]] = {
    "plan": ("truncate_tuned", "transfer_tuned"),
    "plan.keep": ("block3", "block4", "block5", "block6", "block7", "pooled"),
    "plan.freeze": ("0%", "50%", "75%"),
    "train.lr": ("1e-3", "1e-2"),
    "train.lr_ratio": ("1e-2", "1e-1", "1.0"),
}
# 150 labelled images train, 250 choose: a step between two plans is 0.4 points
COMMON = ("source=glyphs", "target.fit_size=400", "target.folds=1", "target.select_fraction=0.625",
          "record=none")  # fmt: skip
Key = tuple[str, ...]
FROZEN = "frozen"


@dataclass(frozen=True)
class Cell:
    """How one plan did. curve: its score after each epoch; value: at its end; seconds: it took."""

    value: float
    curve: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class Grid:
    """A target's grid. frozen: what a survey says of each cut point; cells: the trained plans."""

    frozen: dict[str, float]
    cells: dict[Key, Cell]

    @property
    def epochs(self) -> int:
        """Of all plans together."""
        return sum(len(cell.curve) for cell in self.cells.values())

    @property
    def best(self) -> float:
        """The best plan's score."""
        return max(cell.value for cell in self.cells.values())


def targets(real: Path) -> dict[str, list[str]]:
    """The targets, by name: the overrides that choose them."""

    def arrays(name: str) -> list[str]:
        return ["target=arrays", f"target.file={next((real / name).glob('*.npz'))}"]

    return {
        "digits": ["target=digits"],
        "fashion_mnist": arrays("fashion_mnist"),
        "usps": arrays("usps"),
        "mnist": arrays("mnist"),
    }


def keys() -> list[Key]:
    """Every point of the grid."""
    return [*itertools.product(*AXES.values())]


def trained(name: str, chosen: Sequence[str], work: Path) -> Grid:
    """Train the grid of one target; one that was stopped goes on."""
    lists = [f"{axis}={','.join(values)}" for axis, values in AXES.items()]
    line = [sys.executable, "-m", "tlsweep", "-m", f"output_dir={work}", *chosen, *COMMON]
    subprocess.run([*line, f"study={name}", *lists], check=True)
    survey = ["sweep.stages=[survey]", "sweep.survey.random=false"]
    subprocess.run([*line, f"study={name}_frozen", *survey], check=True)
    return read(work, name)


def read(work: Path, name: str) -> Grid:
    """What a results folder holds of a target's grid."""
    storage = open_storage(default_url(work), "sweep")
    cells = {}
    for study in optuna.get_all_study_names(storage):
        if study.startswith(f"{name}.grid-"):
            for trial in optuna.load_study(study_name=study, storage=storage).trials:
                if trial.state.name == "COMPLETE":
                    cells[_key(trial.user_attrs["overrides"])] = _cell(trial)
    found = json.loads((work / f"{name}_frozen" / "survey.json").read_text())
    rows = [row for row in found["rows"] if row["weights"] == "source"]
    best: dict[str, float] = {}
    for row in rows:
        best[row["cut"]] = max(round(row["score"], 4), best.get(row["cut"], 0.0))
    return Grid({cut: best[cut] for cut in AXES["plan.keep"]}, cells)


def _key(overrides: Sequence[str]) -> Key:
    given = dict(o.split("=", 1) for o in overrides)
    return tuple(_nearest(axis, given[axis]) for axis in AXES)


def _nearest(axis: str, text: str) -> str:
    """A value as the axis writes it: 0.001 is 1e-3."""
    return text if text in AXES[axis] else next(v for v in AXES[axis] if float(v) == float(text))


def _cell(trial: Any) -> Cell:
    curve = tuple(round(v, 4) for _, v in sorted(trial.intermediate_values.items()))
    return Cell(round(trial.value, 4), curve, round(trial.user_attrs["seconds"], 2))


def write(file: Path, grids: dict[str, Grid]) -> None:
    """Keep grids: a line a plan, and one for each cut point of a survey."""
    lines = []
    for name, grid in grids.items():
        lines += [[name, FROZEN, cut, score] for cut, score in grid.frozen.items()]
        cells = sorted(grid.cells.items())
        lines += [[name, *key, cell.value, cell.seconds, *cell.curve] for key, cell in cells]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def load(file: Path) -> dict[str, Grid]:
    """The grids that were kept."""
    found: dict[str, Grid] = {}
    for line in file.read_text().splitlines():
        name, *rest = json.loads(line)
        grid = found.setdefault(name, Grid({}, {}))
        if rest[0] == FROZEN:
            grid.frozen[rest[1]] = rest[2]
            continue
        key, (value, seconds, *curve) = tuple(rest[: len(AXES)]), rest[len(AXES) :]
        grid.cells[key] = Cell(value, tuple(curve), seconds)
    return found
