"""A source that is trained here: its weights are kept once, and are a checkpoint like others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_text_models import write

from tlsweep.cli import conf_folder
from tlsweep.commands import pretrain
from tlsweep.errors import Refusal
from tlsweep.source import open_source

MODEL = ("source=torchvision", "source.model=shufflenet_v2_x0_5", "source.image_size=32")
FEW = ("target.fit_size=60", "train.epochs=2")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TLSWEEP_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_source_is_trained_once_and_is_a_checkpoint(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain.run([*MODEL, *FEW], conf_folder())
    said = capsys.readouterr().out
    (file,) = (cache / "pretrained").glob("*.safetensors")
    assert file.name.startswith("shufflenet_v2_x0_5_on_digits_")
    assert "trained on 60 of digits" in said
    line = " ".join([*MODEL, f"source.checkpoint={file}", "target=..."])
    assert said.endswith(f"How much of it to keep:\n  python -m tlsweep -m {line}\n")
    record = json.loads(file.with_suffix(".json").read_text())
    assert (record["epochs"], record["trained_on_examples"]) == (2, 60)
    assert record["report_examples"] == 719
    options = {"model": "shufflenet_v2_x0_5", "image_size": 32}
    source = open_source("torchvision", checkpoint=file, **options)
    kept, loaded = load_file(file), source.model().state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in kept.items())
    assert {name for name in loaded if name not in kept} == {"fc.weight", "fc.bias"}
    assert not torch.equal(source.fresh(0).state_dict()["conv1.0.weight"], kept["conv1.0.weight"])
    written = file.stat().st_mtime_ns
    pretrain.run([*MODEL, *FEW], conf_folder())
    assert file.stat().st_mtime_ns == written
    pretrain.run([*MODEL, *FEW, "seed=1"], conf_folder())
    assert len(list((cache / "pretrained").glob("*.safetensors"))) == 2


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("given", "value"),
    [
        (("source.weights=DEFAULT",), "source.weights=DEFAULT"),
        (("source.checkpoint=w.pt",), "source.checkpoint="),
        (("train.devices=2",), "train.devices=2"),
        (("plan=finetune",), "plan=finetune with pretrain"),
    ],
)
def test_what_it_does_not_do_is_refused(given: tuple[str, ...], value: str) -> None:
    with pytest.raises(Refusal) as refused:
        pretrain.run([*MODEL, *FEW, *given], conf_folder())
    assert any(fault.value.startswith(value) for fault in refused.value.faults)


@pytest.mark.usefixtures("cache")
def test_a_source_that_takes_no_checkpoint_is_refused_before_it_trains() -> None:
    with pytest.raises(Refusal) as refused:
        pretrain.run(["source=glyphs", *FEW], conf_folder())
    (fault,) = refused.value.faults
    assert fault.value == "source=glyphs"
    assert fault.mend == "source=torchvision, timm, transformers or module"


def test_a_model_of_texts_is_trained_from_its_config_and_tokenizer_alone(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(cache / "small", "bert")
    (folder / "model.safetensors").unlink()
    rows = [f"{'good' if i % 2 else 'bad'} day {i}\t{i % 2}" for i in range(80)]
    (cache / "t.tsv").write_text("\n".join(["text\tlabel", *rows]))
    model = ["source=transformers", "source.model=small", "source.length=8"]
    texts = ["target=text", "target.file=t.tsv"]
    pretrain.run([*model, *texts, "train.epochs=1"], conf_folder())
    (file,) = (cache / "pretrained").glob("small_on_*.safetensors")
    assert f"source.checkpoint={file}" in capsys.readouterr().out
    options = {"model": str(folder), "length": 8}
    source = open_source("transformers", checkpoint=file, **options)
    kept, loaded = load_file(file), source.model().state_dict()
    assert kept.keys() == loaded.keys()
    assert all(torch.equal(loaded[name], value) for name, value in kept.items())
