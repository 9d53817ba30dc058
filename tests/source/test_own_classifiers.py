"""Classifiers of models of transformers: each answers as there, or the source says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import small_image_models as images
import small_text_models as texts
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tlsweep.cut import CutPoints, ending, section
from tlsweep.cut.layered import Side
from tlsweep.source import Source, carried, carry_files, dissect, open_architecture, open_source
from tlsweep.source.own_classifiers import OWN

NAMES = ("calm", "glad", "sad", "sour", "wild")
NAMED = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
OF_TEXTS = tuple(family for family in texts.CONFIGS if family in OWN)
OF_IMAGES = tuple(family for family in images.CONFIGS if family in OWN)
IDS = torch.randint(4, 11, (4, texts.LENGTH), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(texts.LENGTH) < torch.tensor([[12], [7], [3], [1]])
ROWS = [3, 0, 4]


def headed(folder: Path, family: str, **more: Any) -> Path:
    """A folder of a small model with a classifier of five classes that have names."""
    if family in images.CONFIGS:
        kind = "AutoModelForImageClassification"
        # which of two classes of DeiT is meant
        named = {**NAMED, "architectures": [OWN[family].kind]}
        return images.write(folder, family, kind=kind, **{**named, **more})
    # what a decoder finds its last token by
    filling = {} if family in ("roberta", "xlm-roberta", "camembert") else {"pad_token_id": 0}
    kind = "AutoModelForSequenceClassification"
    return texts.write(folder, family, kind=kind, **{**NAMED, **filling, **more})


def opened(folder: Path, **more: Any) -> Source:
    return open_source("transformers", model=str(folder), **more)


def cut(folder: Path) -> CutPoints:
    return dissect("transformers", *open_architecture("transformers", model=str(folder)))


def of_transformers(folder: Path, kind: str) -> Any:
    """The model as transformers itself loads it."""
    loads = getattr(transformers, f"AutoModelFor{kind}Classification").from_pretrained
    return loads(folder, attn_implementation="eager").eval()


def agrees(source: Source, cuts: CutPoints, x: Tensor, side: Side, wanted: Tensor) -> None:
    """Whether all parts give these logits, and the ending some of them."""
    model = source.model()
    for point in cuts:
        z = section(model, cuts, 0, point)(x, *([side] if side else []))
        top: nn.Module = section(model, cuts, point, None)
        assert torch.equal(top(z, side), wanted), point.name
    every, some = ending(model, cuts, range(len(NAMES))), ending(model, cuts, ROWS)
    assert every is not None
    assert some is not None
    assert torch.equal(every(z, side), wanted)
    torch.testing.assert_close(some(z, side), wanted[:, ROWS], rtol=1e-6, atol=1e-6)


# ---------------------------------------------------------------------- answers
@pytest.mark.parametrize("masked", [True, False], ids=["masked", "whole"])
@pytest.mark.parametrize("family", OF_TEXTS)
@torch.no_grad()
def test_a_classifier_of_texts_answers_as_transformers_has_it(
    family: str, masked: bool, tmp_path: Path
) -> None:
    folder = headed(tmp_path, family)
    source, theirs = opened(folder), of_transformers(folder, "Sequence")
    filling, side = theirs.config.pad_token_id, {"mask": MASK} if masked else {}
    ids = torch.where(MASK, IDS, filling) if masked else IDS
    wanted = theirs(ids, attention_mask=MASK.long() if masked else None).logits
    assert source.class_names == NAMES
    assert wanted.std(0).min() > 1e-4  # a classifier that tells the texts apart
    agrees(source, cut(folder), ids, side, wanted)


@pytest.mark.parametrize("family", OF_IMAGES)
@torch.no_grad()
def test_a_classifier_of_images_answers_as_transformers_has_it(family: str, tmp_path: Path) -> None:
    folder = headed(tmp_path, family)
    source, theirs = opened(folder), of_transformers(folder, "Image")
    x = torch.randn(3, 3, images.SIZE, images.SIZE, generator=torch.Generator().manual_seed(1))
    assert source.class_names == NAMES
    agrees(source, cut(folder), x, {}, theirs(pixel_values=x).logits)


@pytest.mark.parametrize(
    ("family", "more"),
    [("modernbert", {"classifier_pooling": "mean"}), ("modernbert", {"classifier_pooling": "cls"})],
)
@torch.no_grad()
def test_the_config_says_what_is_pooled(family: str, more: dict[str, Any], tmp_path: Path) -> None:
    folder = headed(tmp_path, family, **more)
    wanted = of_transformers(folder, "Sequence")(IDS, attention_mask=MASK.long()).logits
    agrees(opened(folder), cut(folder), IDS, {"mask": MASK}, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("family", [*OF_TEXTS, *OF_IMAGES])
def test_a_classifier_changes_no_cut_point_and_no_weight_below_it(
    family: str, tmp_path: Path
) -> None:
    folder = headed(tmp_path, family)
    cuts = cut(folder)
    ours = section(opened(folder).model(), cuts, 0, cuts[-1]).state_dict()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["Other"]}))
    without = opened(folder)
    assert without.class_names == ()
    assert [(c.all_names, c.shape, c.tokens) for c in cut(folder)] == [
        (c.all_names, c.shape, c.tokens) for c in cuts
    ]
    theirs = section(without.model(), cut(folder), 0, None).state_dict()
    assert ours
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_the_fingerprint_is_of_the_classifier_too(tmp_path: Path) -> None:
    folder = headed(tmp_path, "bert")
    before = opened(folder).fingerprint
    file = folder / "model.safetensors"
    weights = load_file(file)
    save_file(
        {**weights, "classifier.bias": weights["classifier.bias"] + 1}, file, {"format": "pt"}
    )
    assert opened(folder).fingerprint != before


def test_the_folder_may_be_moved_with_its_classes(tmp_path: Path) -> None:
    folder = headed(tmp_path / "here", "roberta")
    there = tmp_path / "there"
    there.mkdir()
    options = carried(there, carry_files("transformers", there, model=str(folder)))
    model, _ = open_architecture("transformers", **options)
    assert [p.shape for p in model.parameters()] == [
        p.shape for p in opened(folder).model().parameters()
    ]


# ---------------------------------------------------------------------- no classes
def why(folder: Path, **more: Any) -> str:
    source = opened(folder, **more)
    assert source.class_names == ()
    assert list(source.model().parameters())
    return source.no_classes


def test_a_trunk_alone_names_no_classes(tmp_path: Path) -> None:
    said = why(texts.write(tmp_path, "bert", **NAMED))
    assert said == "its config.json is of BertModel, and not of BertForSequenceClassification"


def test_classes_without_names_are_none(tmp_path: Path) -> None:
    unnamed = {"id2label": None, "label2id": None, "num_labels": 5}
    said = why(headed(tmp_path, "distilbert", **unnamed))
    assert said == "in its config.json they are LABEL_0 to LABEL_4"


def test_a_classifier_of_numbers_has_no_classes(tmp_path: Path) -> None:
    assert (
        why(headed(tmp_path, "bert", problem_type="regression")) == "its classifier gives numbers"
    )


def test_the_mean_of_two_classifiers_is_none(tmp_path: Path) -> None:
    both = ["DeiTForImageClassificationWithTeacher"]
    said = why(headed(tmp_path, "deit", architectures=both))
    assert said == f"its config.json is of {both[0]}, and not of DeiTForImageClassification"


@pytest.mark.parametrize(
    ("family", "words"), [("t5", "decoder"), ("mt5", "decoder"), ("siglip_vision_model", "SigLIP")]
)
def test_a_classifier_of_more_than_the_source_is_none_and_says_so(
    family: str, words: str, tmp_path: Path
) -> None:
    write = images.write if family in images.CONFIGS else texts.write
    assert words in why(write(tmp_path, family))


def test_weights_of_another_file_have_no_names_of_classes(tmp_path: Path) -> None:
    folder = headed(tmp_path, "bert")
    assert "source.checkpoint" in why(folder, checkpoint=str(folder / "model.safetensors"))


@pytest.mark.parametrize("missing", [True, False], ids=["missing", "of another shape"])
def test_a_file_without_that_classifier_gives_the_trunk(missing: bool, tmp_path: Path) -> None:
    folder = headed(tmp_path, "bert")
    file, wanted = folder / "model.safetensors", opened(folder).model().state_dict()
    weights = load_file(file)
    del weights["classifier.weight"]
    more = {} if missing else {"classifier.weight": torch.ones(7, 16)}
    save_file({**weights, **more}, file, {"format": "pt"})
    assert why(folder) == "its file of weights does not hold the classifier of config.json"
    found = opened(folder).model().state_dict()
    assert all(torch.equal(found[n], wanted[n]) for n in found if n.startswith("trunk."))


def test_a_tokenizer_that_ends_texts_in_the_filling_leaves_no_last_token(tmp_path: Path) -> None:
    assert why(headed(tmp_path, "qwen2", pad_token_id=3)) == (
        "it reads the last token before the filling, which ends all texts"
    )
