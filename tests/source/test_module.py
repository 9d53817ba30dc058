"""A network that code of the user's own builds: named on the command line, by nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from outside_package import FOLDER, Outside
from PIL import Image

from tlsweep.errors import Refusal
from tlsweep.source import check_source, dissect, open_architecture, open_source
from tlsweep.source.base import private_rng
from tlsweep.terms import NAMED_CODE

BUILD = "own_network:build"


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the command line had named the network, and one that is not there."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv(NAMED_CODE, f"{BUILD},own_network:numbers,own_network:other,no_such:build")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(FOLDER)
    from own_network import build

    with private_rng(3):
        torch.save({"model": build().state_dict()}, tmp_path / "w.bin")
    return tmp_path / "w.bin"


def options(weights: Path, **other: Any) -> dict[str, Any]:
    return {"build": BUILD, "checkpoint": weights, "image_size": 16, **other}


@pytest.mark.usefixtures("named")
def test_it_answers_as_the_network_that_was_saved(weights: Path) -> None:
    source = open_source("module", **options(weights))
    assert source.name == "build"
    assert source.trained_on == "checkpoint w.bin"
    assert source.said == ("images are normalised with the mean and the deviation of ImageNet's",)
    saved = torch.load(weights, weights_only=True)["model"]
    loaded = source.model().state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in saved.items())
    cuts = dissect("module", *open_architecture("module", **options(weights)))
    assert cuts.names == ("input", "seq.0", "seq.1", "seq.2", "pooled")


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("classifier", ["none", "another"])
def test_its_classifier_is_never_needed_and_all_else_is(weights: Path, classifier: str) -> None:
    """A file of ``pretrain`` has none, one of another task another."""
    saved = torch.load(weights, weights_only=True)["model"]
    *below, weight, bias = saved
    kept = {name: saved[name] for name in below}
    other = {weight: saved[weight][:1].repeat(7, 1), bias: torch.zeros(7)}
    torch.save(kept if classifier == "none" else {**kept, **other}, weights)
    loaded = open_source("module", **options(weights)).model().state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in kept.items())
    assert loaded[weight].shape == saved[weight].shape
    del kept[below[0]]
    torch.save(kept, weights)
    with pytest.raises(Refusal) as refused:
        open_source("module", **options(weights))
    assert f"missing: {below[0]}" in refused.value.faults[0].rule


def test_code_that_no_command_line_has_named_is_refused_and_not_imported(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAMED_CODE, "os:getcwd")
    for ask in (check_source, open_source, open_architecture):
        with pytest.raises(Refusal, match="named on the command line that runs it") as refused:
            ask("module", **options(weights, build="own_network:other"))
        (fault,) = refused.value.faults
        assert fault.mend == (
            "source.build=own_network:other on this command line, or"
            " TLSWEEP_BUILD=own_network:other"
        )


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize(
    ("other", "value", "rule"),
    [
        ({"build": "no_such:build"}, "source.build=no_such:build", "No module named 'no_such'"),
        ({"build": "own_network:other"}, "source.build=own_network:other", "no attribute 'other'"),
        ({"mean": (0.5,)}, "source.mean=[0.5]", "mean has a number for each of 3 channels"),
        ({"resize": 8}, "source.resize=8", "to the size of its centre crop, or to more"),
    ],
)
def test_what_cannot_be_opened_is_refused(
    weights: Path, other: dict[str, Any], value: str, rule: str
) -> None:
    with pytest.raises(Refusal) as refused:
        check_source("module", **options(weights, **other))
    (fault,) = refused.value.faults
    assert fault.value == value
    assert rule in fault.rule


@pytest.mark.usefixtures("named")
def test_a_function_that_returns_no_network_is_refused(weights: Path) -> None:
    with pytest.raises(Refusal, match=r"returns a torch\.nn\.Module; this one, a list"):
        open_source("module", **options(weights, build="own_network:numbers"))


@pytest.mark.slow
def test_one_that_cannot_be_traced_is_surveyed_and_tuned_and_answers(
    outside: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    from own_network import branching

    with private_rng(3):
        torch.save(branching().state_dict(), tmp_path / "w.bin")
    given = ["source=module", "source.build=own_network:branching", "source.checkpoint=w.bin"]
    given += ["source.image_size=16", "target=digits", "target.fit_size=60", "record=none"]
    swept = outside("-m", *given, "study=s", "sweep.stages=[survey]")
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert "def forward" not in swept.stderr  # what torch tells of a failed export
    (notes,) = [" ".join(swept.stdout.replace("│", " ").split())]
    assert "it is cut between calls of its modules, where that was seen to be exact" in notes
    page = (tmp_path / "outputs" / "s" / "report.html").read_text()
    assert "cut between calls of its modules" in page
    tuned = outside(*given, "study=t", "plan=last_layers", "plan.freeze=stem", "train.epochs=1")
    assert tuned.returncode == 0, tuned.stdout + tuned.stderr
    assert "Keep all 2 blocks" in tuned.stdout
    outside.env[NAMED_CODE] = "own_network:branching"
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "a.png")
    answered = outside("predict", f"model={tmp_path / 'outputs' / 's' / 'model'}", "a.png")
    assert answered.returncode == 0, answered.stderr


@pytest.mark.slow
def test_a_sweep_its_model_and_its_runs_need_the_code_named_each_time(
    outside: Outside, weights: Path, tmp_path: Path
) -> None:
    given = [f"source.build={BUILD}", f"source.checkpoint={weights}", "source.image_size=16"]
    common = ("target=digits", "target.fit_size=60", "study=s")
    done = outside("-m", "source=module", *given, *common, "sweep.stages=[survey]")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "normalised with the mean and the deviation of ImageNet's" in done.stdout
    assert f"  {NAMED_CODE}={BUILD} python -m tlsweep predict model=" in done.stdout
    model = tmp_path / "outputs" / "s" / "model"
    card = json.loads((model / "model.json").read_text())
    assert card["source"]["options"]["build"] == BUILD
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "a.png")
    refused = outside("predict", f"model={model}", "a.png")
    assert refused.returncode == 2
    assert "named on the command line that runs it" in refused.stderr
    outside.env[NAMED_CODE] = BUILD
    assert outside("predict", f"model={model}", "a.png").returncode == 0
    del outside.env[NAMED_CODE]
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    text = f"# @package _global_\nsource: {{build: '{BUILD}'}}\n"
    (tmp_path / "mine" / "experiment" / "own.yaml").write_text(text)
    hidden = outside("-cd", "mine", "source=module", "experiment=own", *given[1:], *common)
    assert hidden.returncode == 2
    assert "no config and no record names any" in hidden.stderr
