"""The whole sweep: what it leaves behind, and that it goes on where it was stopped."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow.tracking import MlflowClient
from short_sweep import SHORT, Run

STUDY = "glyphs_to_digits"
ENDS = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)


def trials(output: Path, study: str = STUDY) -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{output / 'optuna.db'}"
    return optuna.load_study(study_name=study, storage=storage).trials


def counted(output: Path) -> list[optuna.trial.FrozenTrial]:
    return [t for t in trials(output) if t.state in ENDS]


def runs(output: Path) -> list[Any]:
    client = MlflowClient(f"sqlite:///{output / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tlsweep")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> tuple[Path, str]:
    """The output folder of a short sweep, and what it printed."""
    output = tmp_path_factory.mktemp("sweep")
    done = subprocess.run(
        [sys.executable, "-m", "tlsweep", "-m", f"output_dir={output}", *SHORT],
        capture_output=True, text=True, timeout=400, check=False,
        env={**__import__("os").environ, "TLSWEEP_CACHE": str(cache), "COLUMNS": "120"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return output, done.stdout


def test_the_verdict_holds_what_is_promised(finished: tuple[Path, str]) -> None:
    verdict = json.loads((finished[0] / STUDY / "verdict.json").read_text())
    assert verdict["study"] == STUDY
    assert verdict["n_trials"] == 6
    wanted = {"plan", "freeze", "keep", "regrow", "keep_name", "kept_fraction"}
    assert wanted <= set(verdict["recommended"])
    low, high = verdict["interval"]
    assert 0 <= low <= verdict["score"] <= high <= 1
    assert set(verdict["controls"]) == {
        "scratch", "random_features", "feature_extractor", "finetune",
    }  # fmt: skip
    for point in verdict["curve"]:
        assert {"cut", "index", "state", "score", "interval"} <= set(point)
    assert verdict["sentence"] in " ".join(finished[1].replace("│", " ").split())


def test_the_studys_folder_holds_page_curve_and_config(finished: tuple[Path, str]) -> None:
    folder = finished[0] / STUDY
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "<!doctype html>" in (folder / "report.html").read_text()
    assert "fit_size: 60" in (folder / "config.yaml").read_text()
    assert not list(folder.rglob("*.part"))


def test_mlflow_holds_one_parent_and_a_child_for_each_trial(finished: tuple[Path, str]) -> None:
    all_runs = runs(finished[0])
    parents = [r for r in all_runs if "mlflow.parentRunId" not in r.data.tags]
    children = [r for r in all_runs if r not in parents]
    assert len(parents) == 1
    assert parents[0].info.status == "FINISHED"
    assert {c.data.tags["mlflow.parentRunId"] for c in children} == {parents[0].info.run_id}
    confirmed = trials(finished[0], f"{STUDY}.confirm")
    assert len(children) == 6 + len(confirmed)
    assert all(c.info.status == "FINISHED" for c in children)
    for name in ("source", "keep", "keep_index", "kept_fraction", "lr", "seed", "stage"):
        assert all(name in c.data.params for c in children)


def test_only_confirmed_trials_have_read_the_report_split(finished: tuple[Path, str]) -> None:
    output = finished[0]
    assert all("report" not in t.user_attrs.get("scores", {}) for t in trials(output))
    confirmed = trials(output, f"{STUDY}.confirm")
    assert confirmed
    assert all("report" in t.user_attrs["scores"] for t in confirmed)


def test_a_finished_study_starts_no_trial_and_prints_its_verdict(
    finished: tuple[Path, str], tlsweep: Run
) -> None:
    output = finished[0]
    before = json.loads((output / STUDY / "verdict.json").read_text())
    n_runs, n_trials = len(runs(output)), len(trials(output))
    again = tlsweep("-m", f"output_dir={output}", *SHORT)
    assert again.returncode == 0, again.stderr
    after = json.loads((output / STUDY / "verdict.json").read_text())
    assert (len(runs(output)), len(trials(output))) == (n_runs, n_trials)
    for verdict in (before, after):
        verdict.pop("seconds")
    assert before == after
    assert before["sentence"] in " ".join(again.stdout.replace("│", " ").split())


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("sweep.params={train.lr: 'interval(1e-5,1e-4)'}", "space"),
        ("target.fit_size=50", "target.fit_size=50"),
    ],
)
def test_a_study_of_that_name_with_another_question_is_refused(
    finished: tuple[Path, str], tlsweep: Run, change: str, key: str
) -> None:
    refused = tlsweep("-m", f"output_dir={finished[0]}", *SHORT, change)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert key in refused.stderr
    assert f"study={STUDY}_2" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_refused_command_changes_nothing_of_a_finished_study(
    finished: tuple[Path, str], tlsweep: Run
) -> None:
    config = (finished[0] / STUDY / "config.yaml").read_bytes()
    assert tlsweep("-m", f"output_dir={finished[0]}", *SHORT, "seed=9").returncode == 2
    assert (finished[0] / STUDY / "config.yaml").read_bytes() == config
    parents = [r for r in runs(finished[0]) if "mlflow.parentRunId" not in r.data.tags]
    assert [p.info.status for p in parents] == ["FINISHED"]


def test_controls_are_what_they_are_called_whatever_plan_the_command_line_names(
    tlsweep: Run, tmp_path: Path
) -> None:
    """And a folder may hold quotes, commas and spaces."""
    output = tmp_path / "it's, a folder"
    quoted = str(output).replace("'", "\\'")
    done = tlsweep("-m", f"output_dir='{quoted}'", "plan.keep=block3", *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    confirmed = {
        t.user_attrs["facts"]["plan"]: t.user_attrs["facts"]
        for t in trials(output, f"{STUDY}.confirm")
    }
    scratch, whole = confirmed["scratch"], confirmed["finetune"]
    assert (scratch["freeze"], scratch["keep"], scratch["regrow"]) == (0, 0, 8)
    assert (whole["freeze"], whole["keep"], whole["regrow"]) == (0, 8, 8)
    drawn = [t for t in counted(output) if "key" not in t.user_attrs]
    assert drawn
    assert {t.user_attrs["facts"]["keep"] for t in drawn} == {3}


def test_a_sweep_killed_again_and_again_ends_with_its_trials_each_once(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    output, draw = tmp_path / "out", random.Random(0)
    command = [sys.executable, "-m", "tlsweep", "-m", f"output_dir={output}", *SHORT]
    kills = 0
    for _ in range(4):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 120
        ended = len(counted(output)) if (output / "optuna.db").exists() else 0
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
    assert len(counted(output)) == 6
    keys = [t.user_attrs["key"] for t in counted(output) if "key" in t.user_attrs]
    assert max(Counter(keys).values()) == 1
    retried = [t.user_attrs["retry_of"] for t in trials(output) if "retry_of" in t.user_attrs]
    assert max(Counter(retried).values(), default=1) == 1
    by_number = {t.number: t for t in trials(output)}
    for trial in by_number.values():
        if "retry_of" in trial.user_attrs and trial.state in ENDS:
            assert trial.params == by_number[trial.user_attrs["retry_of"]].params
    children = [r for r in runs(output) if "mlflow.parentRunId" in r.data.tags]
    assert not [r for r in children if r.info.status == "RUNNING"]
    confirmed = trials(output, f"{STUDY}.confirm")
    ends = [t for t in confirmed if t.state == optuna.trial.TrialState.COMPLETE]
    assert len([r for r in children if r.info.status == "FINISHED"]) == 6 + len(ends)


def _under_way(output: Path, ended: int) -> bool:
    try:
        return any(
            t.state == optuna.trial.TrialState.RUNNING and "run_id" in t.user_attrs
            for t in trials(output)
        )
    except Exception:  # the study is not there yet
        return False


def test_ctrl_c_keeps_finished_trials_and_marks_the_open_one(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "tlsweep", "-m", f"output_dir={output}", *SHORT]
    command += ["train.epochs=400"]
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
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    try:
        _, complaint = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, complaint
    assert "the same command goes on from here" in complaint
    assert "Traceback" not in complaint
    assert not [t for t in trials(output) if t.state == optuna.trial.TrialState.RUNNING]
    assert [t.user_attrs["reason"] for t in trials(output) if "reason" in t.user_attrs] == [
        "interrupted"
    ]
    trained = [r for r in runs(output) if r.data.params["stage"] != "survey"]
    assert {r.info.status for r in trained} == {"KILLED"}


# ---------------------------------------------------------------------- the survey
def test_a_survey_alone_answers_every_cut_point_and_trains_nothing(
    tlsweep: Run, tmp_path: Path
) -> None:
    done = tlsweep("-m", "sweep.stages=[survey]", "target.fit_size=60", "sweep.survey.random=false")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "frozen blocks, accuracy on the select split" in done.stdout
    found = json.loads((tmp_path / "outputs" / STUDY / "survey.json").read_text())
    assert {row["index"] for row in found["rows"]} == set(range(9))
    wanted = {"cut", "index", "head", "regularisation", "fit_size", "seed", "score"}
    assert all(wanted <= set(row) for row in found["rows"])
    assert all(isinstance(cut["frechet"], float) for cut in found["transfer"])
    assert not (tmp_path / "outputs" / STUDY / "verdict.json").exists()
    assert {t.user_attrs["facts"]["state"] for t in trials(tmp_path / "outputs")} == {"frozen"}


def test_the_surveys_best_heads_are_trials_and_lead_the_search(finished: tuple[Path, str]) -> None:
    found = json.loads((finished[0] / STUDY / "survey.json").read_text())
    scores = {row["cut"]: 0.0 for row in found["rows"]}
    for row in found["rows"]:
        if row["weights"] == "source":
            scores[row["cut"]] = max(scores[row["cut"]], row["score"])
    entered = [t for t in trials(finished[0]) if t.user_attrs.get("seconds") == 0.0]
    assert entered
    for trial in entered:
        facts = trial.user_attrs["facts"]
        if not facts["random_weights"]:
            assert trial.value == scores[facts["keep_name"]]
    best = max(scores.values())
    tuned = [t for t in counted(finished[0]) if t.user_attrs["facts"]["plan"] == "truncate_tuned"]
    assert scores[tuned[0].user_attrs["facts"]["keep_name"]] == best
