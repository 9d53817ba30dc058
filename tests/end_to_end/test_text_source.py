"""A text encoder and a target of numbers, both of another package, go the way that images go."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from outside_package import ROOT, Outside
from small_text_models import write
from warm import Warm

import tlsweep
from tlsweep import cli
from tlsweep.commands import predict
from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.terms import Split, Stage
from tlsweep.trial import resolve, train_plan

TEXT = ("source=text_encoder", "target=mood", "target.fit_size=80")
PLAIN = (*TEXT, "record=none")


def test_a_frozen_encoder_is_surveyed_answered_and_taken_home(
    outside: Outside, python: Warm, tmp_path: Path
) -> None:
    done = outside("-m", *PLAIN, "sweep.stages=[survey]")
    assert done.returncode == 0, done.stdout + done.stderr
    study = tmp_path / "outputs" / "text_encoder_to_mood"
    verdict = json.loads((study / "verdict.json").read_text())
    assert verdict["measure"]["unit"] == "points"
    assert {p["index"] for p in verdict["curve"]} == {0, 1, 2, 3}
    assert verdict["score"] < verdict["majority"]  # an error: less than that of the mean
    page = (study / "report.html").read_text()
    for told in (verdict["sentence"], done.stdout, page):
        assert re.search(r"\btexts\b", told)
        assert not re.search(r"\b(new|labelled) images\b", told)
    asked = [str(study / "model" / "load.py"), "good good good sun", "bad bad bad rain"]
    said = python(asked, outside.env, tmp_path)
    assert said.returncode == 0, said.stderr
    high, low = (float(line.split("\t")[-1]) for line in said.stdout.splitlines())
    assert high > 0 > low
    written = outside("export", "format=onnx", f"model={study / 'model'}")
    assert written.returncode == 0, written.stderr
    assert "model.onnx: checked at 1 and 3 texts" in written.stdout
    assert "ids: int64 [batch, 64]; mask: bool [batch, 64]. Both are made by" in written.stdout
    with pytest.raises(Refusal, match="source=text_encoder"):
        tlsweep.load_model(study / "model")  # that package is not there


def test_a_folder_of_transformers_is_surveyed_answered_and_taken_home(
    beside: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLSWEEP_CACHE", str(tmp_path / "cache"))
    model = write(tmp_path / "small", "bert", initializer_range=0.02)
    asked = ["source=transformers", "source.model=small", "source.length=10", "target=mood"]
    few = ["target.fit_size=80", "sweep.survey.random=false"]
    monkeypatch.setattr("sys.argv", ["tlsweep", "-m", *asked, *few, "sweep.stages=[survey]"])
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main()
    told = capsys.readouterr().out
    assert re.search(r"\d+ of \d+ texts are longer than 10 tokens: cut", told)
    assert "export model=outputs/small_to_mood/model format=onnx" in told
    study = tmp_path / "outputs" / "small_to_mood"
    # MLflow gives a program one tensor; that of texts takes two
    client = MlflowClient(f"sqlite:///{tmp_path / 'outputs' / 'mlflow.db'}")
    experiments = [one.experiment_id for one in client.search_experiments()]
    assert client.search_runs(experiments)
    assert (study / "model" / "model.pt2").exists()
    assert client.search_logged_models(experiments) == []
    verdict = json.loads((study / "verdict.json").read_text())
    assert len(verdict["curve"]) == 5  # of tokens, of embeddings, of three layers
    assert verdict["score"] < verdict["majority"]  # an error: less than that of the mean
    taken = tlsweep.load_model(study / "model")
    high, low = taken.predict(["good good good sun", "bad bad bad rain"]).flatten().tolist()
    assert high > 0 > low
    texts_are_predicted(study / "model", tmp_path, capsys)
    rules = json.loads((model / "tokenizer.json").read_text())
    rules["model"]["vocab"] |= {"good": 5, "bad": 4}
    (model / "tokenizer.json").write_text(json.dumps(rules))
    # it has its own tokenizer, whatever becomes of the source's
    again = tlsweep.load_model(study / "model").predict(["good good good sun", "bad bad bad rain"])
    assert again.flatten().tolist() == [high, low]


def texts_are_predicted(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the command line: as they are given, of tables, and of files with a text a line."""
    (folder / "a.tsv").write_text("note\tText\nx\tgood good sun\ny\tbad rain\n")
    (folder / "b.txt").write_text("good\n\nbad\n")
    capsys.readouterr()
    predict.run([f"model={model}", "bad bad bad rain", "a.tsv", "b.txt"], Path())
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    wanted = ["bad bad bad rain", "good good sun", "bad rain", "good", "bad"]
    assert [row["text"] for row in rows] == wanted
    own = tlsweep.load_model(model).predict(wanted).flatten().tolist()
    assert [float(list(row.values())[1]) for row in rows] == pytest.approx(own, rel=1e-4)
    predict.run([f"model={model}", "input=note", "a.tsv", "format=json"], Path())
    assert [one["text"] for one in json.loads(capsys.readouterr().out)] == ["x", "y"]
    for argument, said in (
        ("c.csv", "c.csv: no such file"),
        ("fromat=json", "mend: format=json"),
        ("input=words a.tsv", "which column has the texts?"),
    ):
        with pytest.raises(Refusal, match=re.escape(said)):
            predict.run([f"model={model}", *argument.split()], Path())


@pytest.mark.slow
def test_two_devices_train_what_one_trains(outside: Outside) -> None:
    common = (*PLAIN, "plan=finetune", "train.epochs=2", "train.settle=false")
    two = ("train.devices=2", "train.strategy=ddp", "train.accelerator=cpu")
    scores = []
    for devices in ((), two):
        done = outside(*common, *devices)
        assert done.returncode == 0, done.stderr
        scores.append(float(re.search(r"([\d.]+) points", done.stdout)[1]))  # type: ignore[index]
    assert scores[0] == pytest.approx(scores[1], abs=0.1)


# ---------------------------------------------------------------------- in this process
Make = Callable[..., Settings]


@pytest.fixture
def asked(beside: None, tmp_path: Path) -> Make:
    """Settings of the text encoder and the moods, or of what is written beside them."""
    from hydra import compose, initialize_config_dir

    from tlsweep.config.read import read

    here = (f"features.cache_dir={tmp_path / 'features'}", f"output_dir={tmp_path}")

    def make(*overrides: str) -> Settings:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return read(compose("config", overrides=[*TEXT, *here, *overrides]))

    return make


@pytest.mark.parametrize(
    "plan",
    [
        ("plan=last_layers", "plan.freeze=encoder.layer.0"),
        ("plan=surgical", "plan.tune=encoder.layer.1"),
        ("plan=adapters",),
        ("plan=finetune", "plan.drop=encoder.layer.0"),
        ("plan=last_layers", "plan.freeze=embeddings", "schedule=two_phase", "schedule.epochs=1"),
    ],
    ids=lambda plan: " ".join(plan),
)
def test_stored_activations_and_computed_ones_train_the_same(
    plan: tuple[str, ...], asked: Make
) -> None:
    lines = (*plan, "train.epochs=2", "train.settle=false")
    stored = train_plan(resolve(asked(*lines)), None)
    again = train_plan(resolve(asked(*lines)), None)
    anew = train_plan(resolve(asked(*lines, "features.budget_gb=0")), None)
    for other in (again, anew):
        assert np.array_equal(stored.logits[Split.SELECT], other.logits[Split.SELECT])


def test_a_training_goes_on_as_if_it_had_never_ended(asked: Make) -> None:
    lines = ("plan=finetune", "train.epochs=3", "train.settle=false")
    trial = resolve(asked(*lines))
    assert trial.stage == Stage.SINGLE
    whole = train_plan(trial, None)
    for file in trial.folder.glob("last-*.ckpt"):
        file.unlink()
    first = train_plan(resolve(asked(*lines)), lambda epoch, metrics, least: epoch == 0)
    assert first.stopped
    rest = train_plan(resolve(asked(*lines, "train.resume=true")), None)
    assert rest.history == whole.history
    assert np.array_equal(rest.logits[Split.SELECT], whole.logits[Split.SELECT])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("target=digits",), "a source of images, or a target of texts"),
        (("source=glyphs",), "a source of texts, or a target of images"),
        (("train.augment=views", "train.flip=true"), "train.augment=none"),
    ],
)
def test_what_does_not_fit_texts_is_refused(
    lines: tuple[str, ...], words: str, asked: Make
) -> None:
    with pytest.raises(Refusal, match=words):
        resolve(asked(*lines))


@pytest.mark.parametrize("plan", ["plan.freeze=2", "plan.freeze=0"])
@pytest.mark.parametrize("family", ["t5", "albert", "gpt2"])
def test_layers_that_share_tensors_train_the_same_from_stored_activations_and_anew(
    family: str, plan: str, asked: Make, tmp_path: Path
) -> None:
    folder = write(tmp_path / "small", family)
    source = ("source=transformers", f"source.model={folder}", "source.length=10")
    lines = (*source, "plan=last_layers", plan, "train.epochs=2", "train.settle=false")
    stored = train_plan(resolve(asked(*lines)), None)
    anew = train_plan(resolve(asked(*lines, "features.budget_gb=0")), None)
    assert np.array_equal(stored.logits[Split.SELECT], anew.logits[Split.SELECT])
