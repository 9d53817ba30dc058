"""The whole sweep: what it leaves behind, and that it goes on where it was stopped."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow.tracking import MlflowClient
from short_sweep import BESIDE, SHORT, Run
from warm import Warm

from tlsweep.stages.contenders import facts_of
from tlsweep.task import outcome
from tlsweep.terms import BlockState

STUDY = "glyphs_to_digits"
EndedWell = Callable[..., tuple[Path, str]]
ENDS = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)


def trials(output: Path, beside: str = "") -> list[optuna.trial.FrozenTrial]:
    """The trials of the study that is searched, or of one of those beside it."""
    storage = f"sqlite:///{output / 'optuna.db'}"
    study = f"{STUDY}.{beside}" if beside else STUDY
    return optuna.load_study(study_name=study, storage=storage).trials


def everywhere(output: Path) -> list[optuna.trial.FrozenTrial]:
    return [t for beside in ("", *BESIDE) for t in trials(output, beside)]


def counted(output: Path, *beside: str) -> list[optuna.trial.FrozenTrial]:
    return [t for name in (beside or ("", *BESIDE)) for t in trials(output, name)
            if t.state in ENDS]  # fmt: skip


def runs(output: Path) -> list[Any]:
    client = MlflowClient(f"sqlite:///{output / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tlsweep")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], max_results=1000))


@pytest.fixture(scope="module")
def ended_well(python: Warm, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> EndedWell:
    """Runs a command into a folder of its own: that folder, and what it printed."""

    def run(*arguments: str) -> tuple[Path, str]:
        output = tmp_path_factory.mktemp("sweep")
        env = {**os.environ, "TLSWEEP_CACHE": str(cache), "COLUMNS": "120"}
        done = python(["-m", "tlsweep", *arguments, f"output_dir={output}"], env, output)
        assert done.returncode == 0, done.stdout + done.stderr
        return output, done.stdout

    return run


@pytest.fixture(scope="module")
def finished(ended_well: EndedWell) -> tuple[Path, str]:
    """The output folder of a short sweep, and what it printed."""
    return ended_well("-m", *SHORT)


def verdict_of(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / STUDY / "verdict.json").read_text())
    return found


def shown(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_the_verdict_holds_what_is_promised(finished: tuple[Path, str]) -> None:
    verdict = verdict_of(finished[0])
    assert verdict["study"] == STUDY
    assert verdict["n_trials"] == 3  # one by name, two of the sampler's
    wanted = {"plan", "freeze", "keep", "regrow", "keep_name", "kept_fraction"}
    assert wanted <= set(verdict["recommended"])
    low, high = verdict["interval"]
    assert 0 <= low <= verdict["score"] <= high <= 1
    assert set(verdict["controls"]) == {
        "scratch", "random_features", "feature_extractor", "raw_pixels",
    }  # fmt: skip
    assert (verdict["pool_images"], verdict["report_images"]) == (60, 719)
    assert verdict["shortfalls"] == []
    assert verdict["sentence"] in shown(finished[1])


def test_the_curve_shows_every_cut_point_on_the_report_split(finished: tuple[Path, str]) -> None:
    verdict = verdict_of(finished[0])
    frozen = [point for point in verdict["curve"] if point["state"] == "frozen"]
    assert [point["index"] for point in frozen] == list(range(9))
    assert all({"cut", "score", "interval"} <= set(point) for point in frozen)
    by_cut = {row["index"]: row for row in verdict["plans"] if row["state"] == "frozen"
              and row["plan"] == "truncate"}  # fmt: skip
    for point in frozen:
        assert by_cut[point["index"]]["report"]["score"] == pytest.approx(point["score"])


def test_controls_are_never_recommended(finished: tuple[Path, str]) -> None:
    verdict = verdict_of(finished[0])
    assert verdict["recommended"]["keep"] > 0
    barred = {row["plan"] for row in verdict["plans"] if not row["candidate"]}
    assert {"random_features", "scratch"} <= barred
    assert verdict["best"]["plan"] not in ("random_features", "scratch")


def test_the_surveys_answer_is_printed_as_soon_as_it_is_there(finished: tuple[Path, str]) -> None:
    found = json.loads((finished[0] / STUDY / "survey.json").read_text())
    curve = [point for point in found["frozen"] if point["weights"] == "source"]
    best = min(curve, key=lambda p: (-p["score"], p["loss"], p["index"]))
    said = f"frozen up to {best['cut']}, {100 * best['score']:.1f} % of 60 images out of fold"
    text = shown(finished[1])
    assert said in text
    assert text.index(said) < text.index("verdict:")


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
    assert len(children) == len(counted(finished[0])) == len(everywhere(finished[0]))
    assert all(c.info.status == "FINISHED" for c in children)
    settings = (
        "train.lr", "train.optimizer", "train.weight_decay", "train.block_decay", "train.pool",
        "train.head", "train.precision", "schedule.name", "target.split_seed", "seed",
    )  # fmt: skip
    for name in ("source", "keep", "keep_index", "kept_fraction", "stage", *settings):
        assert all(name in c.data.params for c in children)


def test_only_final_trainings_have_read_the_report_split(finished: tuple[Path, str]) -> None:
    output = finished[0]
    folder = output / STUDY / "outcomes"
    for beside in ("", "survey", "first", "confirm"):
        assert trials(output, beside)
        for t in trials(output, beside):
            assert set(t.user_attrs["scores"]) == {"select"}
            assert outcome.read(folder / t.user_attrs["outcome"]).report is None
    assert trials(output, "final")
    for t in trials(output, "final"):
        assert set(t.user_attrs["scores"]) == {"report"}
        assert t.user_attrs["facts"]["fold"] is None
        assert len(outcome.read(folder / t.user_attrs["outcome"]).report) == 719


def test_the_samplers_study_holds_only_trials_of_its_space(finished: tuple[Path, str]) -> None:
    space = {"plan", "plan.keep", "train.lr", "train.lr_ratio"}
    assert len(trials(finished[0])) == 2
    for t in trials(finished[0]):
        assert space <= set(t.params)
        assert "key" not in t.user_attrs
    for beside in BESIDE:
        assert all("key" in t.user_attrs and t.params for t in trials(finished[0], beside))


def test_replicates_are_other_folds_with_other_seeds_and_final_seeds_chose_nothing(
    finished: tuple[Path, str],
) -> None:
    def seeds(*beside: str) -> set[tuple[int | None, int]]:
        facts = [t.user_attrs["facts"] for t in counted(finished[0], *beside)]
        return {(f["fold"], f["seed"]) for f in facts}

    assert seeds("", "first") == {(0, 0)}
    confirmed = seeds("confirm")
    assert {fold for fold, _ in confirmed} <= {1, 2, 3, 4}
    assert {(1, 1), (2, 2)} <= confirmed
    final = seeds("final")
    assert {fold for fold, _ in final} == {None}
    assert not {seed for _, seed in final} & {seed for _, seed in confirmed | {(0, 0)}}


def test_a_finished_study_starts_no_trial_and_prints_its_verdict(
    finished: tuple[Path, str], tlsweep: Run
) -> None:
    output = finished[0]
    before, survey = verdict_of(output), (output / STUDY / "survey.json").stat().st_mtime_ns
    n_runs, n_trials = len(runs(output)), len(everywhere(output))
    again = tlsweep("-m", f"output_dir={output}", *SHORT)
    assert again.returncode == 0, again.stderr
    after = verdict_of(output)
    assert (len(runs(output)), len(everywhere(output))) == (n_runs, n_trials)
    assert (output / STUDY / "survey.json").stat().st_mtime_ns == survey
    for verdict in (before, after):
        verdict.pop("seconds")
    assert before == after
    assert before["sentence"] in shown(again.stdout)


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


@pytest.mark.slow
def test_controls_are_what_they_are_called_whatever_plan_the_command_line_names(
    tlsweep: Run, tmp_path: Path
) -> None:
    """And a folder may hold quotes, commas, percents and spaces."""
    output = tmp_path / "it's, 50%25 of a folder"
    quoted = str(output).replace("'", "\\'")
    fixed = "sweep.fixed=[{plan: 'scratch,finetune'}]"
    controls = "sweep.confirm.controls=[scratch,finetune]"
    done = tlsweep("-m", f"output_dir='{quoted}'", "plan.keep=block3", *SHORT, fixed, controls)
    assert done.returncode == 0, done.stdout + done.stderr
    confirmed = {facts_of(t).name: facts_of(t).plan.states for t in trials(output, "confirm")}
    assert confirmed["scratch"] == (BlockState.FRESH,) * 8
    assert confirmed["finetune"] == (BlockState.TUNED,) * 8
    drawn = trials(output)
    assert drawn
    assert {"scratch", "finetune"} <= set(verdict_of(output)["controls"])
    assert {facts_of(t).plan.keep for t in drawn} == {3}


@pytest.mark.slow
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


def _under_way(output: Path, ended: int) -> bool:
    try:
        return any(
            t.state == optuna.trial.TrialState.RUNNING and "run_id" in t.user_attrs
            for t in everywhere(output)
        )
    except Exception:  # the study is not there yet
        return False


def test_ctrl_c_keeps_finished_trials_and_marks_the_open_one(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "tlsweep", "-m", f"output_dir={output}", *SHORT]
    command += ["train.epochs=400", "train.settle=false"]
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
        *SHORT,
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
    command = ("-m", *SHORT, "sweep.minutes=5", "sweep.n_trials=1", f"sweep.fixed=[{fixed}]",
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
    done = tlsweep("-m", *SHORT, "sweep.minutes=5", "sweep.n_trials=8", "train.epochs=1000000",
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
    command = ("-m", *SHORT, "sweep.minutes=5", "sweep.n_trials=1", "train.epochs=8",
               f"sweep.fixed=[{layers}, {still}]")  # fmt: skip
    done = tlsweep(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = [t.user_attrs["overrides"] for t in counted(tmp_path / "outputs", "first")]
    assert [overrides[1] for overrides in tried] == [
        "train.lr_ratio=0.3", "train.lr=1e-12", "train.lr_ratio=0.1",
    ]  # fmt: skip
    (line,) = verdict_of(tmp_path / "outputs")["shortfalls"]
    assert line.startswith("scratch: 1 of its settings tried, with ")


# ---------------------------------------------------------------------- the survey
SURVEY = ("-m", "sweep.stages=[survey]", "target.fit_size=60", "sweep.confirm.seeds=2")


@pytest.fixture(scope="module")
def surveyed(ended_well: EndedWell) -> tuple[Path, str]:
    """The output folder of a survey alone, and what it printed."""
    return ended_well(*SURVEY)


def test_a_survey_alone_answers_every_cut_point_ends_with_a_verdict_and_trains_nothing(
    surveyed: tuple[Path, str],
) -> None:
    output, text = surveyed
    found = json.loads((output / STUDY / "survey.json").read_text())
    assert {row["index"] for row in found["rows"]} == set(range(9))
    wanted = {"cut", "index", "head", "regularisation", "fit_size", "seed", "score"}
    assert all(wanted <= set(row) for row in found["rows"])
    assert all(isinstance(cut["frechet"], float) for cut in found["transfer"])
    verdict = verdict_of(output)
    assert verdict["sentence"] in shown(text)
    assert verdict["n_trials"] == 0
    assert verdict["folds"] == 5
    assert len(verdict["curve"]) == 9
    assert set(verdict["controls"]) == {"raw_pixels", "random_features", "feature_extractor"}
    # the features of glyphs tell digits apart far better than random weights do
    assert verdict["score"] > verdict["controls"]["random_features"]["score"]
    assert "scratch: no plan of it was tried" in verdict["shortfalls"]
    assert {facts_of(t).state for t in everywhere(output)} == {"frozen"}
    # one plan depends on a seed: random weights
    assert "random_features" in {t.params["plan"] for t in trials(output, "final")}
    assert not trials(output)
    assert not trials(output, "confirm")


def test_a_second_survey_says_the_same_and_adds_nothing(
    surveyed: tuple[Path, str], tlsweep: Run
) -> None:
    output = surveyed[0]
    before, numbers = verdict_of(output), (len(everywhere(output)), len(runs(output)))
    done = tlsweep(*SURVEY, f"output_dir={output}")
    assert done.returncode == 0, done.stdout + done.stderr
    after = verdict_of(output)
    assert {**before, "seconds": 0} == {**after, "seconds": 0}
    assert numbers == (len(everywhere(output)), len(runs(output)))


def test_a_study_of_which_an_outcome_was_damaged_is_not_concluded_and_the_file_is_named(
    surveyed: tuple[Path, str], tlsweep: Run
) -> None:
    output = surveyed[0]
    (trial, *_) = (t for t in trials(output, "final") if t.params["plan"] == "random_features")
    file = output / STUDY / "outcomes" / trial.user_attrs["outcome"]
    whole = file.read_bytes()
    file.write_bytes(whole[:50])
    done = tlsweep(*SURVEY, f"output_dir={output}")
    file.write_bytes(whole)
    assert done.returncode == 1
    assert file.name in done.stderr
    assert "Traceback" not in done.stderr


def test_the_surveys_cut_points_are_trials_and_lead_the_search(finished: tuple[Path, str]) -> None:
    found = json.loads((finished[0] / STUDY / "survey.json").read_text())
    points = {(p["weights"], p["index"]): p for p in found["frozen"]}
    entered = trials(finished[0], "survey")
    assert len(entered) == 9 + 1
    for trial in entered:
        facts = facts_of(trial)
        weights = "random" if facts.plan.random_weights else "source"
        assert trial.value == pytest.approx(points[weights, facts.plan.keep]["score"])
        assert trial.params["train.probe_penalty"] == facts.probe_penalty
    source = [p for (weights, _), p in points.items() if weights == "source" and p["index"] > 0]
    best = min(source, key=lambda p: (-p["score"], p["loss"], p["index"]))
    first = trials(finished[0])[0]
    assert (first.params["plan"], first.params["plan.keep"]) == ("truncate_tuned", best["cut"])


def test_a_cut_point_of_the_survey_is_reproduced_with_every_number_of_its_run(
    finished: tuple[Path, str], tlsweep: Run
) -> None:
    output = finished[0]
    plans = {t.user_attrs["run_id"]: facts_of(t).plan for t in trials(output, "survey")}
    run_id = next(i for i, p in plans.items() if p.keep == 3 and not p.random_weights)
    done = tlsweep("reproduce", f"run={run_id}", f"output_dir={output}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"(\d+) of \1 numbers are equal", done.stdout), done.stdout


@pytest.mark.slow
def test_a_model_may_be_trained_on_all_labels_and_has_no_score_of_its_own(
    finished: tuple[Path, str], tlsweep: Run, tmp_path: Path
) -> None:
    output = tmp_path / "outputs"
    shutil.copytree(finished[0], output)
    before, done_before = verdict_of(output), {t.number for t in trials(output, "final")}
    done = tlsweep("-m", *SHORT, "sweep.final=all")
    assert done.returncode == 0, done.stdout + done.stderr
    after, card = verdict_of(output), json.loads((output / STUDY / "model/model.json").read_text())
    assert (after["score"], after["recommended"]) == (before["score"], before["recommended"])
    assert any("a score of the model to take home" in text for text in after["shortfalls"])
    assert card["about"]["score"] is None
    assert card["about"]["trained_on_images"] == after["pool_images"] + after["report_images"]
    more = [t for t in trials(output, "final") if t.number not in done_before]
    assert len(more) == (after["recommended"]["probe_penalty"] is None)
    assert all("train_on=all" in t.user_attrs["overrides"] for t in more)
    assert all("scores" not in t.user_attrs for t in more)


@pytest.mark.slow
def test_the_recommended_plan_is_trained_on_other_draws_of_the_pool(
    finished: tuple[Path, str], tlsweep: Run, tmp_path: Path
) -> None:
    output = tmp_path / "outputs"
    shutil.copytree(finished[0], output)
    before = verdict_of(output)
    done = tlsweep("-m", *SHORT, "sweep.confirm.splits=2")
    assert done.returncode == 0, done.stdout + done.stderr
    after = verdict_of(output)
    assert (after["score"], after["recommended"]) == (before["score"], before["recommended"])
    drawn = {
        seed: t.user_attrs["scores"]["report"]
        for t in trials(output, "final")
        for seed in (1, 2)
        if f"target.split_seed={seed}" in t.user_attrs["overrides"]
    }
    assert after["draw_scores"] == [drawn[1], drawn[2]]
    assert before["draw_scores"] == []
    mean = 50 * (drawn[1] + drawn[2])
    assert f"2 pools: mean {mean:.1f}" in shown(done.stdout)
