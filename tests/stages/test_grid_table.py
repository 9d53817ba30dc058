"""The table of a grid: what each trial scored on what its fold holds out."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tlsweep.config.settings import Settings
from tlsweep.report.table import grid_table
from tlsweep.task import Classes
from tlsweep.task.outcome import Outcome, write
from tlsweep.trial import question_of
from tlsweep.verdict import accuracy_interval


@dataclass
class Trial:
    """What a table needs of a trial."""

    number: int
    user_attrs: dict[str, Any] = field(default_factory=dict)


@pytest.mark.parametrize("fold", [0, 3])
def test_a_trials_score_is_of_its_fold_and_a_failed_one_shows_why(
    settings: Callable[..., Settings], tmp_path: Path, fold: int
) -> None:
    question = question_of(settings())
    y = question.target.labels[question.partition.folds[fold]]
    right = np.arange(len(y)) < 9
    said = np.where(right, y, (y + 1) % 10)
    write(tmp_path / "a.npz", Outcome({fold: np.eye(10)[said].astype(np.float32)}), Classes(10))
    trials = [
        Trial(0, {"overrides": ["plan.keep=2"], "outcome": "a.npz", "scores": {"select": 0.75},
                  "seconds": 1.25}),
        Trial(1, {"overrides": ["plan.keep=3"], "reason": "the loss is nan"}),
        # all of the pool trained: there is nothing that it was scored on
        Trial(2, {"overrides": ["fold=null"], "outcome": "b.npz", "scores": {}, "seconds": 2.0}),
    ]  # fmt: skip
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(grid_table(trials, tmp_path, question))
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    own = accuracy_interval(right.astype(float))
    interval = f"{100 * own.low:.1f} to {100 * own.high:.1f}"
    assert f"│ 0 │ plan.keep=2 │ {100 * right.mean():.1f} % │ {interval} │ 1.2 │" in lines
    assert "│ 1 │ plan.keep=3 │ failed │ the loss is nan │ │" in lines
    assert any(line.startswith("│ 2 │ fold=null │") for line in lines)
    assert not any("fold=null │ failed" in line for line in lines)
