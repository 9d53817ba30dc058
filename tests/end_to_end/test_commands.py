"""Every documented command but the whole sweep."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow.tracking import MlflowClient
from PIL import Image
from short_sweep import Run

from tlsweep.cli import GROUPS

CONF = Path(__file__).parents[2] / "conf"


def histories(output: Path) -> list[list[tuple[str, int, float]]]:
    client = MlflowClient(f"sqlite:///{output / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tlsweep")
    assert experiment is not None
    found = []
    for run in client.search_runs([experiment.experiment_id], order_by=["start_time"]):
        history = []
        for name in ("fit_loss", "select_loss", "select_accuracy"):
            history += [
                (name, m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)
            ]
        found.append(sorted(history))
    return found


def test_help_answers_in_under_a_second(environment: dict[str, str], tmp_path: Path) -> None:
    command, began = [sys.executable, "-m", "tlsweep", "--help"], time.monotonic()
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert time.monotonic() - began < 1.0
    for word in GROUPS:
        assert f"  {word} " in done.stdout


@pytest.mark.slow
def test_one_plan_twice_with_one_seed_gives_identical_metrics(tlsweep: Run, tmp_path: Path) -> None:
    phases = ("plan=finetune", "train.epochs=2", "schedule=two_phase", "schedule.epochs=1")
    for _ in range(2):
        done = tlsweep(*phases, "target.fit_size=60")
        assert done.returncode == 0, done.stderr
        assert "held-out" in done.stdout
    first, second = histories(tmp_path / "outputs")
    assert first == second
    assert len(first) == 6


def test_a_plan_trained_on_all_of_the_pool_is_told_to_have_no_score(tlsweep: Run) -> None:
    done = tlsweep("plan.keep=block3", "target.fit_size=60", "fold=null", "record=none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not known: fold=null holds nothing out" in done.stdout


@pytest.mark.slow
def test_two_devices_leave_one_run_with_the_scores_of_one_device(
    tlsweep: Run, tmp_path: Path
) -> None:
    """A frozen source: its BatchNorm is in eval mode, so halving the batch changes no number."""
    common = ("plan=truncate", "plan.keep=block3", "train.head=mlp", "train.epochs=3")
    alone = tlsweep(*common)
    both = tlsweep(*common, "train.devices=2", "train.strategy=ddp", "train.accelerator=cpu")
    assert alone.returncode == both.returncode == 0, both.stderr
    first, second = histories(tmp_path / "outputs")
    assert [(n, s) for n, s, _ in first] == [(n, s) for n, s, _ in second]
    assert [v for *_, v in first] == pytest.approx([v for *_, v in second], abs=2e-4)
    assert {p.name for p in (tmp_path / "outputs").iterdir() if p.is_dir()} <= {
        "artifacts", "glyphs_to_digits",
    }  # fmt: skip


@pytest.mark.slow
def test_two_devices_survey_as_one_does(tlsweep: Run, tmp_path: Path) -> None:
    same = ("target.fit_size=60", "sweep.survey.random=false", "train.epochs=1")
    common = ("-m", "sweep.stages=[survey]", *same)
    several = ("train.devices=2", "train.strategy=ddp", "train.accelerator=cpu")
    rows = []
    for name, more in (("one", ("train.accelerator=cpu",)), ("two", several)):
        done = tlsweep(*common, f"study={name}", f"features.cache_dir={tmp_path / name}", *more)
        assert done.returncode == 0, done.stdout + done.stderr
        rows.append(json.loads((tmp_path / "outputs" / name / "survey.json").read_text())["rows"])
    assert rows[0] == rows[1]
    after = tlsweep(
        "-m", *same, "study=two",
        f"features.cache_dir={tmp_path / 'two'}", "train.accelerator=cpu", "sweep.n_trials=1",
        "sweep.minutes=null", "sweep.fixed=[]", "sweep.confirm.seeds=2", "sweep.confirm.top=1",
        "sweep.confirm.controls=[]",
    )  # fmt: skip
    assert after.returncode == 0, after.stdout + after.stderr


def test_lists_alone_train_exactly_their_grid(tlsweep: Run, tmp_path: Path) -> None:
    grid = ("-m", "plan.keep=2,3", "train.pool=1,2", "seed=1,2", "target.fit_size=40")
    done = tlsweep(*grid)
    assert done.returncode == 0, done.stdout + done.stderr
    client = MlflowClient(f"sqlite:///{tmp_path / 'outputs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tlsweep")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    children = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
    varied = ("keep_index", "train.pool", "seed")
    seen = {tuple(r.data.params[key] for key in varied) for r in children}
    assert len(children) == 8
    assert seen == {(k, p, s) for k in "23" for p in "12" for s in "12"}
    assert len({r.info.run_name for r in children}) == 8  # what is varied is in the name
    (parent,) = (r for r in runs if r not in children)
    assert parent.data.params["command"] == shlex.join(["python", "-m", "tlsweep", *grid])
    again = tlsweep(*grid)
    assert again.returncode == 0
    assert len(client.search_runs([experiment.experiment_id])) == len(runs)


@pytest.mark.slow
def test_a_job_in_another_folder_reads_and_writes_where_its_command_was_typed(
    tlsweep: Run, tmp_path: Path
) -> None:
    short = ("train.epochs=1", "target.fit_size=40", "hydra.job.chdir=true")
    places = ("output_dir=out", "features.cache_dir=kept", "sweep.storage=sqlite:///study.db")
    done = tlsweep("-m", "plan.keep=2,3", *short, *places, "record.tracking_uri=sqlite:///runs.db")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "out/glyphs_to_digits/outcomes").iterdir())) == 2
    alone = tlsweep("plan.keep=2", *short, "output_dir=out", "record=none")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"out", "kept", "study.db", "runs.db"}
    assert not list((tmp_path / "out").glob("out"))


@pytest.mark.slow
def test_configs_of_the_users_own_run_in_a_grid(tlsweep: Run, tmp_path: Path) -> None:
    plan = tmp_path / "mine" / "plan" / "half.yaml"
    plan.parent.mkdir(parents=True)
    usual = (CONF / "plan" / "truncate.yaml").read_text()
    plan.write_text(usual.replace("keep: all", "keep: 0.5"))
    (tmp_path / "mine" / "own.yaml").write_text("defaults: [config, _self_]\nseed: 5\n")
    for where in (("-cd", "mine", "-cn", "own"), (f"hydra.searchpath=[file://{tmp_path}/mine]",)):
        done = tlsweep(
            "-m", *where, "plan=half,truncate", f"study=by{len(where)}",
            "target.fit_size=40", "record=none",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "plan=half" in done.stdout
    config = (tmp_path / "outputs" / "by4" / "config.yaml").read_text()
    assert "seed: 5" in config


@pytest.mark.slow
def test_another_plan_makes_another_grid(tlsweep: Run) -> None:
    tables, short = [], ("seed=1,2", "target.fit_size=60", "record=none")
    for plan in ("truncate", "random_features"):
        done = tlsweep("-m", f"plan={plan}", "plan.keep=block3", *short)
        assert done.returncode == 0, done.stdout + done.stderr
        tables.append(done.stdout)
    assert tables[0] != tables[1]


def test_a_grid_may_list_what_a_source_or_target_cannot_do_without(
    tlsweep: Run, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    for root in ("a", "b"):
        for label in range(2):
            folder = tmp_path / root / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(10):
                pixels = draw.integers(100 * label, 100 * label + 99, (12, 12), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    done = tlsweep("-m", "target=image_folder", "target.root=a,b", "record=none")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "target.root=b" in done.stdout


@pytest.mark.slow
def test_a_run_resumes_from_its_own_checkpoint_and_no_other(tlsweep: Run, tmp_path: Path) -> None:
    common = ("plan=truncate_tuned", "plan.keep=block3", "train.epochs=2", "target.fit_size=60")
    assert tlsweep(*common, "seed=0").returncode == 0
    refused = tlsweep(*common, "seed=1", "train.resume=true")
    assert refused.returncode == 2
    assert "train.resume=true, and there is no" in refused.stderr
    assert tlsweep(*common, "seed=1").returncode == 0
    assert tlsweep(*common, "seed=0", "train.resume=true").returncode == 0
    first, second, again = histories(tmp_path / "outputs")
    assert len(first) == len(second) == 6
    assert first != second
    assert again == []  # nothing was left to train


@pytest.mark.slow
def test_lists_beside_a_named_sweep_are_its_search_space(tlsweep: Run, tmp_path: Path) -> None:
    done = tlsweep(
        "-m", "sweep=random", "plan.keep=block2,block3", "train.lr=interval(1e-3,1e-2)",
        "sweep.n_trials=3", "sweep.fixed=[]", "train.epochs=1", "target.fit_size=40",
        "sweep.minutes=null", "sweep.confirm.controls=[scratch]", "sweep.confirm.seeds=2",
        "sweep.confirm.top=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads((tmp_path / "outputs/glyphs_to_digits/verdict.json").read_text())
    assert verdict["n_trials"] == 3
    assert verdict["shortfalls"] == ["scratch: no plan of it was tried"]
    assert not (tmp_path / "outputs/glyphs_to_digits/survey.json").exists()
    assert verdict["recommended"]["keep_name"] in ("block2", "block3")
    # what ran is recorded, and runs again
    recorded = (tmp_path / "outputs/glyphs_to_digits/config.yaml").read_text()
    config = yaml.safe_load(recorded)
    space = {"plan.keep": "block2,block3", "train.lr": "interval(1e-3,1e-2)"}
    assert config["sweep"]["params"] == space
    assert config["sweep"]["n_trials"] == 3
    hashed, *command = shlex.split(recorded.splitlines()[0])
    assert (hashed, command[:3]) == ("#", ["python", "-m", "tlsweep"])
    again = tlsweep(*command[3:])
    assert again.returncode == 0, again.stderr
    assert verdict["sentence"][:40] in again.stdout


def test_cuts_are_printed_as_a_table_and_as_json(tlsweep: Run) -> None:
    table = tlsweep("cuts", "source.model=resnet18")
    assert table.returncode == 0, table.stderr
    assert "layer3.0" in table.stdout
    rows = json.loads(tlsweep("cuts", "source.model=resnet18", "format=json").stdout)
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert rows[-1]["parameters"] == 11_176_512
    fine = json.loads(tlsweep("cuts", "source.model=resnet18", "format=json", "level=fine").stdout)
    assert len(fine) > len(rows)


def test_a_nan_loss_fails_that_trial_with_its_reason_and_nothing_else(tlsweep: Run) -> None:
    done = tlsweep(
        "-m", "train.lr=1e-2,100", "plan=finetune", "train.optimizer=sgd", "train.lr_ratio=0.1",
        "train.epochs=2", "train.weight_decay=0.1", "record=none",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train.lr=100 failed: training diverged" in " ".join(done.stdout.split())
    assert "train.lr=0.01" in done.stdout  # the other one has its score
    assert " %" in done.stdout


def test_a_trial_without_enough_memory_fails_in_a_sentence_and_the_others_go_on(
    tlsweep: Run,
) -> None:
    layers = "train.head_sizes=[1000000000000]"  # 2 petabytes: no machine has them
    asked = ["plan=truncate", "plan.keep=1", "train.head=mlp", "train.epochs=1", "record=none"]
    alone = tlsweep(*asked, layers)
    assert alone.returncode == 1, alone.stderr
    assert "tlsweep: out of memory: a smaller train.batch_size" in alone.stderr
    assert "Traceback" not in alone.stderr
    both = tlsweep("-m", *asked, layers.replace("=", "=[4],"))
    assert both.returncode == 0, both.stderr
    assert "failed: out of memory" in " ".join(both.stdout.split())
    assert " %" in both.stdout  # the other one has its score


@pytest.mark.parametrize("arguments", [("--version",), ("--cfg", "job")])
def test_small_questions_are_answered(tlsweep: Run, arguments: tuple[str, ...]) -> None:
    done = tlsweep(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
