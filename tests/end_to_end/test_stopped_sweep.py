"""A sweep that is killed, interrupted or out of time keeps what it has, and goes on."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from short_sweep import (
    ALONE,
    BESIDE,
    ENDS,
    Run,
    counted,
    everywhere,
    runs,
    shown,
    trials,
    verdict_of,
)


@pytest.mark.slow
def test_a_sweep_killed_again_and_again_ends_with_its_trials_each_once(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    output, draw = tmp_path / "out", random.Random(0)
    command = [sys.executable, "-m", "tlsweep", "-m", f"output_dir={output}", *ALONE]
    kills = 0
    for _ in range(4):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 120
        ended = _ended(output)
        # into the middle of some trial: after the next one has begun
        while process.poll() is None and time.monotonic() < deadline:
            if _under_way(output, ended):
                time.sleep(draw.uniform(0, 0.6))
                break
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills >= 2
    last = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert last.returncode == 0, last.stdout + last.stderr
    assert len(counted(output, "")) == 2
    for beside in BESIDE:
        keys = Counter(t.user_attrs["key"] for t in counted(output, beside))
        assert set(keys.values()) == {1}
    for beside in ("", *BESIDE):
        by_number = {t.number: t for t in trials(output, beside)}
        again = [t for t in by_number.values() if "retry_of" in t.user_attrs]
        retried = Counter(t.user_attrs["retry_of"] for t in again)
        assert max(retried.values(), default=1) == 1
        for trial in again:
            if trial.state in ENDS:
                assert trial.params == by_number[trial.user_attrs["retry_of"]].params
    children = [r for r in runs(output) if "mlflow.parentRunId" in r.data.tags]
    assert not [r for r in children if r.info.status == "RUNNING"]
    assert len([r for r in children if r.info.status == "FINISHED"]) == len(counted(output))


def _ended(output: Path) -> int:
    try:
        return len(counted(output)) if (output / "optuna.db").exists() else 0
    except KeyError:  # killed before it made its studies
        return 0


def _under_way(output: Path, ended: int) -> bool:
    try:
        return any(
            t.state == optuna.trial.TrialState.RUNNING and "run_id" in t.user_attrs
            for t in everywhere(output)
        )
    except Exception:  # the study is not there yet
        return False


@pytest.mark.slow
def test_ctrl_c_keeps_finished_trials_and_marks_the_open_one(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "tlsweep", "-m", f"output_dir={output}", *ALONE]
    command += ["train.epochs=400", "train.settle=false", "sweep.survey.random=false"]
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell starts background jobs with SIGINT ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and not _under_way(output, 0) and time.monotonic() < deadline:
        time.sleep(0.5)  # looking takes the time of both
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    try:
        _, complaint = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, complaint
    assert "the same command goes on from here" in complaint
    assert "Traceback" not in complaint
    assert not [t for t in everywhere(output) if t.state == optuna.trial.TrialState.RUNNING]
    assert [t.user_attrs["reason"] for t in everywhere(output) if "reason" in t.user_attrs] == [
        "interrupted"
    ]
    statuses = {stage: set[str]() for stage in ("sweep", "survey", "first")}
    for run in runs(output):
        statuses[run.data.params["stage"]].add(run.info.status)
    assert statuses == {"sweep": {"KILLED"}, "survey": {"FINISHED"}, "first": {"KILLED"}}


@pytest.mark.slow
def test_a_sweep_ends_with_its_minutes_and_at_the_same_trial_when_it_is_taken_up(
    tlsweep: Run, tmp_path: Path
) -> None:
    command = (
        "-m",
        *ALONE,
        "sweep.n_trials=20",
        "sweep.minutes=0.001",
        "sweep.survey.random=false",
    )
    first = tlsweep(*command)
    assert first.returncode == 0, first.stdout + first.stderr
    output = tmp_path / "outputs"
    n_trials = len(everywhere(output))
    # the survey's answer is there; nothing is trained after it
    assert verdict_of(output)["n_trials"] == 0
    assert verdict_of(output)["shortfalls"][0] == (
        "training: sweep.minutes had passed after the survey"
    )
    again = tlsweep(*command)
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(everywhere(output)) == n_trials
    more = tlsweep(*command, "sweep.n_trials=1", "sweep.minutes=null")
    assert more.returncode == 0, more.stdout + more.stderr
    assert len(counted(output, "")) == 1
    # what the first verdict showed might have guided whoever asked for more
    chose = [t for kind in ("", "first", "confirm") for t in counted(output, kind)]
    assert verdict_of(output)["shortfalls"] == [
        f"a report split that nobody had seen: {len(chose)} trials were run after a verdict had"
        " read it"
    ]


@pytest.mark.slow
def test_what_the_minutes_cannot_hold_is_given_up_or_not_begun_and_the_rest_is_answered(
    tlsweep: Run, tmp_path: Path
) -> None:
    """Trainings of a million epochs: of the first plan, and a control's second setting."""
    long = "train.settle: false, train.epochs: 1000000"
    fixed = f"{{plan: scratch, {long}}}, {{plan: finetune}}, {{plan: finetune, {long}}}"
    command = ("-m", *ALONE, "sweep.minutes=5", "sweep.n_trials=1", f"sweep.fixed=[{fixed}]",
               "sweep.confirm.controls=[finetune,scratch]")  # fmt: skip
    done = tlsweep(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no room for 1 plans of sweep.fixed" in shown(done.stdout)
    output = tmp_path / "outputs"
    endings = {t.user_attrs["overrides"][0]: t.state.name for t in counted(output, "first")}
    assert endings == {"plan=scratch": "PRUNED", "plan=finetune": "COMPLETE"}
    (given_up,) = (t for t in counted(output, "first") if t.state.name == "PRUNED")
    assert given_up.user_attrs["epochs"] == 2  # as soon as it is known how fast epochs go
    verdict = verdict_of(output)
    assert "finetune" in verdict["controls"]
    assert "scratch" not in verdict["controls"]
    (line,) = verdict["shortfalls"]
    assert re.fullmatch(
        r"scratch: a training takes \d+ s or more, and sweep.minutes=5 has no room for those that"
        r" it needs; sweep.minutes=\d+ may have",
        line,
    )
    begun = len(everywhere(output))
    again = tlsweep(*command)
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(everywhere(output)) == begun
    assert verdict_of(output)["shortfalls"] == verdict["shortfalls"]


@pytest.mark.slow
def test_where_the_cheapest_training_takes_too_long_nothing_more_is_tried(
    tlsweep: Run, tmp_path: Path
) -> None:
    done = tlsweep("-m", *ALONE, "sweep.minutes=5", "sweep.n_trials=8", "train.epochs=1000000",
                   "train.settle=false", "sweep.fixed=[{plan: last_layers}]")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    output = tmp_path / "outputs"
    assert [t.state.name for t in counted(output, "first")] == ["PRUNED"]
    assert not counted(output, "")
    verdict = verdict_of(output)
    assert verdict["recommended"]["state"] == "frozen"
    assert any(line.startswith("last_layers: a training takes ") for line in verdict["shortfalls"])


@pytest.mark.slow
def test_a_control_that_is_far_behind_is_not_tried_at_other_rates(
    tlsweep: Run, tmp_path: Path
) -> None:
    """Scratch that does not learn at all: 10 % where kept blocks have some 70."""
    still = "{plan: scratch, train.lr: '1e-12,1e-11', train.weight_decay: 0}"
    layers = "{plan: last_layers, train.lr_ratio: '0.3,0.1'}"
    command = ("-m", *ALONE, "sweep.minutes=5", "sweep.n_trials=1", "train.epochs=8",
               f"sweep.fixed=[{layers}, {still}]")  # fmt: skip
    done = tlsweep(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = [t.user_attrs["overrides"] for t in counted(tmp_path / "outputs", "first")]
    assert [overrides[1] for overrides in tried] == [
        "train.lr_ratio=0.3", "train.lr=1e-12", "train.lr_ratio=0.1",
    ]  # fmt: skip
    (line,) = verdict_of(tmp_path / "outputs")["shortfalls"]
    assert line.startswith("scratch: 1 of its settings tried, with ")
