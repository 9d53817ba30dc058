"""The head "source" over a model of transformers, whose config names its classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_image_models as images
import small_text_models as texts
import torch
import transformers
from hydra import compose, initialize_config_dir
from PIL import Image
from torch import Tensor

from tlsweep import load_model
from tlsweep.cli import conf_folder
from tlsweep.config.read import read
from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.model import export_model
from tlsweep.model.write import write_model
from tlsweep.question import Question
from tlsweep.terms import ImageSpec
from tlsweep.trial import resolve, train_plan

Make = Callable[..., Settings]
NAMES = ("wild", "calm", "sad", "glad")
NAMED = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
WANTED = ("calm", "sad", "wild")  # of the target, in the order of its names
ROWS = [1, 2, 0]
OWN = ("plan=feature_extractor", "train.head=source")


def table(file: Path) -> tuple[str, ...]:
    """Overrides for a table of texts of those classes, of several lengths."""
    draw, rows = np.random.default_rng(0), ["text\tlabel"]
    for i in range(90):
        words = draw.choice(texts.WORDS, draw.integers(4, 13)).tolist()
        rows.append(f"{' '.join(words)}\t{WANTED[i % 3]}")
    file.write_text("\n".join(rows) + "\n")
    return "target=text", f"target.file={file}", "target.fit_size=30"


def pictures(root: Path) -> tuple[str, ...]:
    """Overrides for a folder of images of those classes."""
    draw = np.random.default_rng(0)
    for name in WANTED:
        (root / name).mkdir(parents=True)
        for i in range(20):
            pixels = draw.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return "target=image_folder", f"target.root={root}", "target.fit_size=30"


@pytest.fixture
def asks(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a folder with a classifier of four classes, and a target with three of them."""

    def make(family: str, *more: str, **config: Any) -> Settings:
        place = tmp_path / "model"
        if family in images.CONFIGS:
            kind, target = "AutoModelForImageClassification", pictures(tmp_path / "pictures")
            images.write(place, family, kind=kind, **NAMED, **config)
        else:
            kind, target = "AutoModelForSequenceClassification", table(tmp_path / "texts.tsv")
            texts.write(place, family, kind=kind, pad_token_id=0, **NAMED, **config)
            target += ("source.length=10",)
        where = (f"features.cache_dir={tmp_path}", f"output_dir={tmp_path}", "train.epochs=2")
        lines = ["source=transformers", f"source.model={place}", *where, *target, *OWN, *more]
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return read(compose("config", overrides=lines))

    return make


def batch(question: Question) -> tuple[Tensor, dict[str, Tensor]]:
    """A few examples as the source is given them, texts of several lengths."""
    if isinstance(spec := question.source.spec, ImageSpec):
        draw = torch.Generator().manual_seed(0)
        return torch.randn(5, spec.channels, spec.size, spec.size, generator=draw), {}
    assert spec.encode is not None
    ids, mask = spec.encode(["good bad the day", "sun", "the rain " * 9, "a day", "bad"])
    return ids, {"mask": mask}


def theirs(folder: Path, x: Tensor, side: dict[str, Tensor]) -> Tensor:
    """The logits of transformers' own model."""
    kind = "Sequence" if side else "Image"
    loads = getattr(transformers, f"AutoModelFor{kind}Classification").from_pretrained
    model = loads(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        how = {"attention_mask": side["mask"].long()} if side else {}
        logits: Tensor = model(x, **how).logits
    return logits


@pytest.mark.parametrize("family", ["bert", "distilbert", "gpt2", "vit", "convnext"])
def test_before_training_it_gives_the_models_own_logits(
    family: str, asks: Make, tmp_path: Path
) -> None:
    trial = resolve(asks(family))
    x, side = batch(trial.question)
    network = trial.question.network(trial.plan, trial.train, 0).eval()
    with torch.no_grad():
        found = network(x, side)
    torch.testing.assert_close(
        found, theirs(tmp_path / "model", x, side)[:, ROWS], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("plan", ["feature_extractor", "finetune"])
def test_it_is_trained_and_taken_home(plan: str, asks: Make, tmp_path: Path) -> None:
    trial = resolve(asks("gpt2", f"plan={plan}", "keep_weights=true"))
    trained = train_plan(trial, None)
    assert trained.network is not None
    assert len(trained.history) == 2
    taken = load_model(write_model(tmp_path / "study", trial, trained.network, {}))
    x, side = batch(trial.question)
    trained.network.entry = 0  # what it was scored from may have been stored
    with torch.no_grad():
        wanted, answered = trained.network.cpu().eval()(x, side), taken(x, side)
    torch.testing.assert_close(answered, wanted, rtol=1e-5, atol=1e-6)
    assert not torch.equal(answered, theirs(tmp_path / "model", x, side)[:, ROWS])
    assert export_model(taken, "torch_export", tmp_path / "model.pt2") <= 1e-4


def test_a_source_without_classes_is_refused_with_the_reason(asks: Make) -> None:
    with pytest.raises(Refusal) as caught:
        resolve(asks("bert", problem_type="regression"))
    (fault,) = caught.value.faults
    assert fault.value == "train.head=source"
    assert fault.rule == (
        "a source says what its own classes are called; model does not"
        " (its classifier gives numbers)"
    )
