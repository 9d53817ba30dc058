"""Our sweeper under an app of somebody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

APP = Path(__file__).parent / "foreign_app.py"
BUDGET = "hydra.sweeper.n_trials=12"


def run(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(APP), "-m", f"hydra.sweep.dir={folder}", *overrides]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)


def points(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("point ")]


def test_a_search_finds_the_lowest_point_and_running_it_again_runs_no_further_trial(
    tmp_path: Path,
) -> None:
    command = (BUDGET, "x=interval(-4,4)", "hydra.sweeper.seed=1")
    first = run(tmp_path, *command)
    assert first.returncode == 0, first.stderr
    values = [(float(x), kind) for _, x, kind in map(str.split, points(first))]
    assert len(values) == 12
    best = min(values, key=lambda v: (v[0] - 2) ** 2 + (v[1] == "a"))
    results = OmegaConf.to_container(OmegaConf.load(tmp_path / "optimization_results.yaml"))
    assert results == {
        "name": "tlsweep",
        "best_evaluated_params": {"x": best[0], "kind": best[1]},
        "best_evaluated_value": pytest.approx((best[0] - 2) ** 2 + (best[1] == "a")),
    }
    again = run(tmp_path, *command)
    assert again.returncode == 0, again.stderr
    assert points(again) == []
    more = run(tmp_path, *command, "hydra.sweeper.n_trials=14")
    assert len(points(more)) == 2, more.stderr


def test_the_command_line_replaces_the_same_key_of_the_search_space(tmp_path: Path) -> None:
    done = run(tmp_path, "hydra.sweeper.n_trials=3", "kind=b", "x=range(0,3)")
    assert len(points(done)) == 3, done.stderr
    assert all(p.endswith(" b") for p in points(done))


def test_lists_alone_are_a_grid(tmp_path: Path) -> None:
    done = run(tmp_path, "~hydra.sweeper.params.kind", "x=1,2", "kind=a,b")
    assert points(done) == ["point 1 a", "point 1 b", "point 2 a", "point 2 b"], done.stderr


@pytest.mark.parametrize(
    ("returns", "reason"),
    [
        ("nothing", "the job returned None, not a finite number"),
        ("error", "RuntimeError: this app is broken"),
    ],
)
def test_an_app_that_returns_no_number_ends_the_search_with_the_reason(
    tmp_path: Path, returns: str, reason: str
) -> None:
    done = run(tmp_path, "hydra.sweeper.n_trials=3", f"returns={returns}", "x=interval(0,1)")
    assert done.returncode == 1
    assert "1 trials failed, more than" in done.stderr
    assert reason in done.stderr
