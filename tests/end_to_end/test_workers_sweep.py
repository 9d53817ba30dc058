"""Workers change nothing but the time: trials once each, one run a trial, one verdict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from short_sweep import SHORT, EndedWell, counted, everywhere, runs, verdict_of

SOAK = Path(__file__).parents[1] / "benchmarks" / "soak"


@pytest.mark.slow
def test_a_sweep_of_two_workers_is_the_same_whichever_is_faster(
    ended_well: EndedWell, tmp_path: Path, environment: dict[str, str]
) -> None:
    """A second one is helped by a third worker, which joins: other workers run its trials."""
    first, _ = ended_well("-m", *SHORT, "sweep.n_jobs=2")
    output = tmp_path / "helped"
    line = [sys.executable, "-m", "tlsweep"]
    sweep = subprocess.Popen(
        [*line, "-m", f"output_dir={output}", *SHORT, "sweep.n_jobs=2"],
        env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    joined = 0
    while sweep.poll() is None:  # it is refused until the sweep has begun
        done = subprocess.run(
            [*line, "worker", "study=glyphs_to_digits", f"output_dir={output}"],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 2), done.stderr
        joined += "trials of it were run here" in done.stdout
    assert sweep.wait() == 0
    assert joined
    mine, theirs = verdict_of(first), verdict_of(output)
    assert mine["recommended"] == theirs["recommended"]
    assert mine["score"] == theirs["score"]
    assert mine["controls"] == theirs["controls"]
    keys = [
        sorted(str(t.user_attrs.get("key", t.params)) for t in counted(o)) for o in (first, output)
    ]
    assert keys[0] == keys[1]


@pytest.mark.slow
def test_two_devices_a_trial_leave_one_run_a_trial(ended_well: EndedWell) -> None:
    ddp = ("train.devices=2", "train.strategy=ddp", "train.accelerator=cpu")
    output, _ = ended_well("-m", *SHORT, *ddp, "sweep.stages=[search,confirm]")
    children = [r for r in runs(output) if "mlflow.parentRunId" in r.data.tags]
    assert len(children) == len(everywhere(output)) == len(counted(output))
    assert {r.info.status for r in children} == {"FINISHED"}
    assert verdict_of(output)["recommended"]


@pytest.mark.slow
def test_a_tiny_soak_loses_no_trial_and_doubles_none() -> None:
    done = subprocess.run(
        [sys.executable, str(SOAK), "--kills", "3", "--minutes", "6"],
        capture_output=True, text=True, check=False, timeout=590,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for row in ("| lost | 0 |", "| doubled | 0 |", "| other verdict | 0 |"):
        assert row in done.stdout
