"""``python tests/benchmarks/search``: how good a search is for what it costs.

The full grid of a small space was trained once on each target, and lies in grids.jsonl; the sweep's
own search then looks plans up in it. ``--train`` trains the grids anew (hours). Writes
search.md and search.svg with ``--write``.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from statistics import mean, stdev

sys.path.insert(0, str(Path(__file__).parents[1]))  # what the benchmarks share

import matplotlib as mpl
from grids import Grid, load, targets, trained, write
from machine import machine
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from recipes import RECIPES, TRIALS, Found, Recipe, searched
from table import Table

from tlsweep.study import choice

HERE = Path(__file__).parent
GRIDS, TABLE = HERE / "grids.jsonl", HERE.with_name("search.md")
PICTURE = HERE.with_name("search.svg")
SHARES = (0.02, 0.05, 0.10)  # of the grid's epochs
WORST = 1.0  # regret where no plan has ended yet: the best one's whole score
Runs = list[tuple[Recipe, dict[str, list[list[Found]]]]]


def regret(grid: Grid, found: list[Found], share: float) -> float:
    """Points that the best plan found is behind the grid's best, after a share of its epochs."""
    within = [one.best for one in found if one.epochs <= share * grid.epochs]
    return 100 * (grid.best - max(within[-1], 0.0) if within else WORST * grid.best)


def row(recipe: Recipe, grids: dict[str, Grid], runs: dict[str, list[list[Found]]]) -> list[str]:
    """Mean regret over targets and seeds for each share, its standard error, and that of a sweep.

    A sweep of the defaults has 20 trials.
    """
    cells = []
    for share in SHARES:
        each = [
            mean(regret(grids[name], found, share) for name, found in zip(runs, one, strict=True))
            for one in zip(*runs.values(), strict=True)
        ]
        error = stdev(each) / len(each) ** 0.5 if len(each) > 1 else 0.0
        cells.append(f"{mean(each):.2f} ± {error:.2f}")
    ends = [(grids[name], found[:20][-1]) for name, one in runs.items() for found in one]
    behind = mean(100 * (grid.best - end.best) for grid, end in ends)
    share = mean(end.epochs / grid.epochs for grid, end in ends)
    return [recipe.name, *cells, f"{behind:.2f}", f"{100 * share:.1f} %"]


def picture(grids: dict[str, Grid], runs: Runs) -> Figure:
    """Regret against compute."""
    with mpl.rc_context({"font.size": 9, "svg.hashsalt": "search"}):
        figure = Figure(figsize=(7.0, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        shares = [k / 200 for k in range(1, 41)]
        for recipe, by_target in runs:
            if recipe.n > 1:
                continue
            means = [
                mean(regret(grids[n], f, share) for n, one in by_target.items() for f in one)
                for share in shares
            ]
            default = "default" in recipe.name
            axes.plot([100 * s for s in shares], means, label=recipe.name,
                      linewidth=2.5 if default else 1.2)  # fmt: skip
        axes.set(xlabel="share of the grid's epochs, %", ylabel="points behind the grid's best",
                 yscale="log")  # fmt: skip
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Train grids where that is asked for, search in them, and print the table."""
    parser = argparse.ArgumentParser(prog="python tests/benchmarks/search")
    parser.add_argument("--train", metavar="FOLDER", type=Path, help="train the grids anew there")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    choice.silence_experimental()
    if asked.train is not None:
        real = Path(os.environ["TLSWEEP_REAL_DATA"])
        made = {name: trained(name, to, asked.train) for name, to in targets(real).items()}
        write(GRIDS, made)
    grids = load(GRIDS)
    with ProcessPoolExecutor(initializer=choice.silence_experimental) as pool:
        runs = _searched(pool, grids, asked.seeds, asked.trials)
    text = _text(grids, runs, asked.seeds)
    sys.stdout.write(text)
    if asked.write:
        TABLE.write_text(text)
        picture(grids, runs).savefig(PICTURE, metadata={"Date": None})


def _searched(pool: Executor, grids: dict[str, Grid], seeds: int, trials: int) -> Runs:
    """What every recipe found on every target with every seed, several at a time."""
    begun = [
        (r, {n: [pool.submit(searched, r, g, seed, trials) for seed in range(seeds)]
             for n, g in grids.items()})
        for r in RECIPES
    ]  # fmt: skip
    return [(r, {n: [one.result() for one in each] for n, each in of.items()}) for r, of in begun]


def _text(grids: dict[str, Grid], runs: Runs, seeds: int) -> str:
    columns = ["recipe", *(f"{100 * share:.0f} % of compute" for share in SHARES), "20 trials",
               "their compute"]  # fmt: skip
    rows = [row(recipe, grids, by_target) for recipe, by_target in runs]
    what = ", ".join(f"{name} ({len(g.cells)} plans, best {100 * g.best:.1f} %)"
                     for name, g in grids.items())  # fmt: skip
    notes = [
        f"Points behind the best plan of the full grid: {what}.",
        f"Means of {seeds} seeds, ± the standard error of that; compute is epochs, of the grid's.",
        "A score is that on some 250 held-out images, the same that the grid's best has: its"
        " standard error is 1 to 2.5 points, so the best of the grid is in part the luckiest.",
        f"{machine()}.",
    ]
    table = Table("Points behind the grid's best", columns, rows, notes)
    head = "# Search quality\n\n`python tests/benchmarks/search --write`\n\n"
    return f"{head}{table.markdown()}\n\n![Regret against compute](search.svg)\n"


if __name__ == "__main__":
    main()
