"""Recipes of a search, each run by the sweep's own ledger over a grid that was trained before."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from grids import AXES, Cell, Grid
from optuna.distributions import CategoricalDistribution, FloatDistribution

from tlsweep.study.crew import Batches, Ended
from tlsweep.study.draws import Sampling
from tlsweep.study.handle import TrialHandle
from tlsweep.study.ledger import Ledger
from tlsweep.study.space import Space
from tlsweep.study.storage import default_url

MEDIAN = {"name": "median", "n_startup_trials": 4, "n_warmup_steps": 4}
TRIALS = 32


@dataclass(frozen=True)
class Recipe:
    """survey: whether one says where to look; n: trials under way at once."""

    name: str
    sampler: str
    survey: bool = False
    pruner: Mapping[str, Any] | None = None
    n: int = 1


RECIPES = (
    Recipe("random", "random"),
    Recipe("quasi-random", "qmc"),
    Recipe("TPE", "tpe"),
    Recipe("GP", "gp"),
    Recipe("survey + random", "random", survey=True),
    Recipe("survey + GP", "gp", survey=True),
    Recipe("survey + TPE (the default)", "tpe", survey=True),
    Recipe("the default, 2 at once", "tpe", survey=True, n=2),
    Recipe("the default, 4 at once", "tpe", survey=True, n=4),
    Recipe("the default, 8 at once", "tpe", survey=True, n=8),
    Recipe("survey + TPE, median", "tpe", True, MEDIAN),
    Recipe("survey + TPE, median after 8 epochs", "tpe", True, {**MEDIAN, "n_warmup_steps": 8}),
    Recipe("survey + TPE, hyperband", "tpe", True, {"name": "hyperband", "min_resource": 4}),
)


@dataclass(frozen=True)
class Found:
    """After a trial. epochs: trained until then; best: of the plans that ended."""

    epochs: int
    best: float


def searched(recipe: Recipe, grid: Grid, seed: int, trials: int = TRIALS) -> list[Found]:
    """What a search had found after each of its trials, in the order in which they ended."""
    found: list[Found] = []
    with TemporaryDirectory() as folder:
        ledger = Ledger(
            default_url(Path(folder)),
            "s",
            Sampling({"name": recipe.sampler}, seed),
            pruner=recipe.pruner or {"name": "none"},
        ).open(resume=True)
        if recipe.survey:
            ledger.hint(_hints(grid))
        crew = Batches(_answering(ledger, grid, found), recipe.n)
        ledger.search(_space(grid, recipe), crew, n_trials=trials, max_failure_rate=0.0)
    return found


def _space(grid: Grid, recipe: Recipe) -> Space:
    keep = AXES["plan.keep"]
    if recipe.survey:  # the better half, and the last one
        best = sorted(keep, key=lambda cut: -grid.frozen[cut])[: math.ceil(len(keep) / 2)]
        keep = tuple(cut for cut in keep if cut in (*best, keep[-1]))
    lists = {"plan": AXES["plan"], "plan.keep": keep, "plan.freeze": AXES["plan.freeze"]}
    ranges = {axis: [*map(float, AXES[axis])] for axis in ("train.lr", "train.lr_ratio")}
    return Space({
        **{axis: CategoricalDistribution(values) for axis, values in lists.items()},
        **{axis: FloatDistribution(v[0], v[-1], log=True) for axis, v in ranges.items()},
    })  # fmt: skip


def _hints(grid: Grid) -> list[dict[str, str]]:
    best = sorted(grid.frozen, key=lambda cut: -grid.frozen[cut])[:2]
    return [{"plan": "truncate_tuned", "plan.keep": cut} for cut in best]


def _answering(
    ledger: Ledger, grid: Grid, found: list[Found]
) -> Callable[[Sequence[Any]], list[Ended]]:
    """Runs jobs by looking up how their plans did: the epochs one after another, in turns."""

    def launch(jobs: Sequence[Any]) -> list[Ended]:
        handles = [TrialHandle(ledger.storage, "s", job.number) for job in jobs]
        cells = [grid.cells[_key(job.overrides)] for job in jobs]
        open_ = [*range(len(jobs))]
        for epoch in range(1, 1 + max(len(cell.curve) for cell in cells)):
            for k in [*open_]:
                if handles[k].report(epoch, cells[k].curve[epoch - 1]):
                    _end(handles[k], cells[k], found, epoch, pruned=True)
                    open_.remove(k)
                elif epoch == len(cells[k].curve):
                    _end(handles[k], cells[k], found, epoch, pruned=False)
                    open_.remove(k)
        return [Ended(cell.value) for cell in cells]

    return launch


def _end(handle: TrialHandle, cell: Cell, found: list[Found], epochs: int, *, pruned: bool) -> None:
    handle.finish(cell.value, pruned=pruned)
    before = found[-1] if found else Found(0, -math.inf)
    best = before.best if pruned else max(before.best, cell.value)
    found.append(Found(before.epochs + epochs, best))


def _key(overrides: Sequence[str]) -> tuple[str, ...]:
    """The plan of the grid that is nearest, rates by their logarithm."""
    given = dict(o.split("=", 1) for o in overrides)

    def nearest(axis: str) -> str:
        if not axis.startswith("train."):
            return given[axis]
        return min(AXES[axis], key=lambda v: abs(math.log(float(v) / float(given[axis]))))

    return tuple(nearest(axis) for axis in AXES)
