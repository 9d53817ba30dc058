"""Plans of regions in one verdict: one region tuned, adapters, a block left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from short_sweep import ALONE, Run

import tlsweep
from tlsweep.terms import BlockState

FIXED = (
    "sweep.fixed=[{plan: scratch}, {plan: surgical, plan.tune: block2..block3},"
    " {plan: adapters, plan.rank: 2}, {plan: finetune, plan.drop: block3}]"
)


@pytest.mark.slow
def test_each_stands_in_the_verdict_with_its_region_and_none_is_taken_for_finetune(
    tlsweep: Run, tmp_path: Path
) -> None:
    done = tlsweep("-m", *ALONE, FIXED, "sweep.confirm.top=4", "sweep.n_trials=1",
                   "sweep.confirm.controls=[scratch,finetune]", "output_dir=out")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "out" / "glyphs_to_digits"
    verdict = json.loads((folder / "verdict.json").read_text())
    rows = {row["plan"]: row for row in verdict["plans"]}
    assert rows["surgical"]["regions"] == {"tuned": "block2..block3"}
    assert rows["adapters"]["regions"] == {"adapted": "block1..pooled"}
    assert rows["finetune"]["regions"]["dropped"] == "block3"
    assert "finetune: no plan of it was tried" in verdict["shortfalls"]
    assert rows["adapters"]["state"] == "adapted"
    assert rows["finetune"]["flops"] < rows["surgical"]["flops"]
    assert rows["adapters"]["trained_parameters"] < rows["surgical"]["trained_parameters"]
    page = (folder / "report.html").read_text()
    assert "plan.tune=block2..block3" in page

    client = MlflowClient(f"sqlite:///{tmp_path / 'out' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tlsweep")
    assert experiment is not None
    found = {r.data.params.get("plan"): r.data.params
             for r in client.search_runs([experiment.experiment_id])}  # fmt: skip
    assert found["surgical"]["tuned"] == "block2..block3"
    assert (found["adapters"]["rank"], found["adapters"]["adapted_layers"]) == ("2", "10")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plan", "states"),
    [
        (("plan=surgical", "plan.tune=block1"), "TFFFFFFF"),
        (("plan=adapters", "plan.rank=4"), "AAAAAAAA"),
        (("plan=finetune", "plan.drop=block3"), "TTDTTTTT"),
    ],
)
def test_a_plan_of_the_command_line_is_searched_named_and_taken_home(
    tlsweep: Run, tmp_path: Path, plan: tuple[str, ...], states: str
) -> None:
    """With frozen plans left out, and scratch no candidate, it is what is recommended."""
    done = tlsweep("-m", *ALONE, *plan, "sweep.stages=[search,confirm]", "output_dir=out")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "out" / "glyphs_to_digits"
    verdict = json.loads((folder / "verdict.json").read_text())
    assert tuple(verdict["recommended"]["overrides"][: len(plan)]) == plan
    letters = dict(zip("FATND", BlockState, strict=True))
    expected = [str(letters[letter]) for letter in states]
    assert verdict["recommended"]["states"] == expected
    card = json.loads((folder / "model" / "model.json").read_text())
    assert [block["state"] for block in card["plan"]["blocks"]] == expected
    assert load(folder / "model") == 10


def load(folder: Path) -> int:
    """How many answers the model gives of an image."""
    import torch

    with torch.no_grad():
        return int(tlsweep.load_model(folder)(torch.zeros(1, 1, 32, 32)).shape[1])
