"""The whole sweep: what it leaves behind, and that it goes on where it was stopped."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from short_sweep import (
    ALONE,
    BESIDE,
    STUDY,
    EndedWell,
    Run,
    counted,
    everywhere,
    runs,
    shown,
    trials,
    verdict_of,
)

from tlsweep.stages.contenders import facts_of
from tlsweep.task import Classes, outcome
from tlsweep.terms import BlockState


@pytest.fixture(scope="module")
def finished(ended_well: EndedWell) -> tuple[Path, str]:
    """The output folder of a short sweep, and what it printed."""
    return ended_well("-m", *ALONE)


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
            assert outcome.read(folder / t.user_attrs["outcome"], Classes(10)).report is None
    assert trials(output, "final")
    for t in trials(output, "final"):
        assert set(t.user_attrs["scores"]) == {"report"}
        assert t.user_attrs["facts"]["fold"] is None
        assert len(outcome.read(folder / t.user_attrs["outcome"], Classes(10)).report) == 719


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
    again = tlsweep("-m", f"output_dir={output}", *ALONE)
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
    refused = tlsweep("-m", f"output_dir={finished[0]}", *ALONE, change)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert key in refused.stderr
    assert f"study={STUDY}_2" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_refused_command_changes_nothing_of_a_finished_study(
    finished: tuple[Path, str], tlsweep: Run
) -> None:
    config = (finished[0] / STUDY / "config.yaml").read_bytes()
    assert tlsweep("-m", f"output_dir={finished[0]}", *ALONE, "seed=9").returncode == 2
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
    done = tlsweep("-m", f"output_dir='{quoted}'", "plan.keep=block3", *ALONE, fixed, controls)
    assert done.returncode == 0, done.stdout + done.stderr
    confirmed = {facts_of(t).name: facts_of(t).plan.states for t in trials(output, "confirm")}
    assert confirmed["scratch"] == (BlockState.FRESH,) * 8
    assert confirmed["finetune"] == (BlockState.TUNED,) * 8
    drawn = trials(output)
    assert drawn
    assert {"scratch", "finetune"} <= set(verdict_of(output)["controls"])
    assert {facts_of(t).plan.keep for t in drawn} == {3}


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
    done = tlsweep("-m", *ALONE, "sweep.final=all")
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
    done = tlsweep("-m", *ALONE, "sweep.confirm.splits=2")
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
