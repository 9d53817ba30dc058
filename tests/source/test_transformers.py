"""Models of texts of transformers: each family exact, tokenizers, weights, and what is refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from small_text_models import CONFIGS, LAYERS, LENGTH, write
from torch import Tensor, nn

from tlsweep.cut import CutPoints, prefix_costs, section
from tlsweep.errors import Refusal
from tlsweep.heads.head import LAST
from tlsweep.source import Source, dissect, input_spec, open_architecture, open_source
from tlsweep.source.hub import quiet_hub
from tlsweep.source.text_families import FAMILIES
from tlsweep.source.tokenizer import digest
from tlsweep.target.texts import TextTarget
from tlsweep.terms import TokenSpec

IDS = torch.randint(4, 11, (4, LENGTH), generator=torch.Generator().manual_seed(0))
MASK = torch.arange(LENGTH) < torch.tensor([[12], [7], [3], [1]])
ENCODERS = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel"}
Make = Callable[..., Path]
WEIGHT = "encoder.layer.0.output.dense.weight"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes the folder of a small model."""
    return lambda family="bert", **more: write(tmp_path / "small", family, **more)


def opened(folder: Path, length: int | None = LENGTH) -> Source:
    return open_source("transformers", model=str(folder), length=length)


def cut(folder: Path) -> CutPoints:
    return dissect("transformers", *open_architecture("transformers", model=str(folder), length=12))


def refused(model: Path | str, length: int | None = LENGTH) -> Any:
    with pytest.raises(Refusal) as caught:
        open_source("transformers", model=str(model), length=length)
    (fault,) = caught.value.faults
    return fault


def of_transformers(folder: Path, family: str) -> nn.Module:
    """The model as transformers itself loads it."""
    kind = getattr(transformers, ENCODERS.get(family, "AutoModel"))
    model: Any = kind.from_pretrained(folder, attn_implementation="eager").eval()
    encoder: nn.Module = model.encoder if family in ENCODERS else model
    return encoder


# ---------------------------------------------------------------------- families
def test_every_family_has_a_small_model_here() -> None:
    assert CONFIGS.keys() == FAMILIES.keys()


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "whole"])
@pytest.mark.parametrize("family", CONFIGS)
@torch.no_grad()
def test_every_prefix_and_its_suffix_give_the_last_hidden_state_of_transformers(
    family: str, masked: bool, make: Make
) -> None:
    folder = make(family)
    source, theirs, cuts = opened(folder), of_transformers(folder, family), cut(folder)
    model, side = source.model(), {"mask": MASK} if masked else {}
    wanted = theirs(IDS, attention_mask=MASK.long() if masked else None).last_hidden_state
    there = MASK if masked else torch.ones_like(MASK)
    assert len(cuts) == LAYERS + 2
    for point in cuts:
        z = section(model, cuts, 0, point)(IDS, side)
        answer = section(model, cuts, point, None)(z, side)
        assert torch.equal(answer[there], wanted[there]), point.name
    whole = sum(p.numel() for p in model.parameters())
    assert prefix_costs(model, cuts, IDS)[-1].parameters == whole


@pytest.mark.parametrize(
    ("family", "more", "tokens"),
    [
        ("bert", {}, (0,)),
        ("deberta-v2", {}, (0,)),
        ("modernbert", {"classifier_pooling": "cls"}, (0,)),
        ("modernbert", {"classifier_pooling": "mean"}, None),
        ("t5", {}, None),
        ("gpt2", {}, LAST),
        ("qwen3", {}, LAST),
    ],
)
def test_a_head_pools_the_tokens_that_the_family_pools(
    family: str, more: dict[str, Any], tokens: tuple[int, ...] | None, make: Make
) -> None:
    assert [point.tokens for point in cut(make(family, **more))][2:] == [tokens] * LAYERS


def test_each_run_through_alberts_only_layer_ends_in_a_cut_point(make: Make) -> None:
    cuts = cut(make("albert"))
    layer = "encoder.albert_layer_groups.0"
    assert cuts.names[2:] == tuple(f"{layer}.times_{i}" for i in (1, 2, 3))
    assert cuts.resolve("times_2").index == 3


def test_alberts_groups_follow_each_other_as_albert_has_them(make: Make) -> None:
    names = cut(make("albert", num_hidden_groups=2)).names
    groups = [name.removeprefix("encoder.albert_layer_groups.") for name in names[2:]]
    assert groups == ["0.times_1", "0.times_2", "1"]


def test_the_table_of_distances_of_t5_is_one_tensor_in_every_layer(make: Make) -> None:
    folder = make("t5")
    model, cuts = opened(folder).model(), cut(folder)
    table = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    held = [dict(section(model, cuts, i, i + 1).named_parameters()) for i in range(LAYERS + 1)]
    assert table not in held[0]
    assert all(part[table] is held[1][table] for part in held[1:])


# ---------------------------------------------------------------------- tokens
def test_texts_become_the_tokens_that_their_tokenizer_makes(make: Make) -> None:
    ids, mask = opened(make(), 8).spec.encode(["good bad the day", "sun", "good " * 20])
    assert ids.tolist() == [
        [2, 4, 5, 6, 8, 3, 0, 0],
        [2, 10, 3, 0, 0, 0, 0, 0],
        [2, 4, 4, 4, 4, 4, 4, 3],
    ]
    assert mask.sum(1).tolist() == [6, 3, 8]


def test_a_tokenizer_without_filling_or_class_token_fills_with_what_is_masked(make: Make) -> None:
    ids, mask = opened(make("gpt2"), 8).spec.encode(["good bad", ""])
    assert ids[0, :2].tolist() == [4, 5]
    assert mask.sum(1).tolist() == [2, 0]


def test_a_tokenizer_is_named_by_what_it_does_and_not_by_what_it_did(make: Make) -> None:
    folder = make()
    spec = opened(folder).spec
    own = spec.encode.own
    before = digest(own)
    spec.encode(["good " * 40])
    assert digest(own) == before
    rules = json.loads((folder / "tokenizer.json").read_text())
    rules["model"]["vocab"] |= {"good": 5, "bad": 4}
    (folder / "tokenizer.json").write_text(json.dumps(rules))
    other = input_spec("transformers", model=str(folder), length=LENGTH)
    assert other.tokenizer != spec.tokenizer


def test_texts_are_cut_to_128_tokens_or_to_what_the_model_takes(make: Make) -> None:
    assert opened(make(), None).spec.length == 32
    assert opened(make(max_position_embeddings=512), None).spec.length == 128
    assert opened(make("roberta", max_position_embeddings=34), None).spec.length == 32
    assert opened(make("t5"), None).spec.length == 128


def test_texts_that_are_cut_are_counted(make: Make) -> None:
    spec = opened(make(), 8).spec
    assert isinstance(spec, TokenSpec)
    texts = ["sun", "good " * 6, "good " * 7]  # a class token and an end come to them
    told = {n: TextTarget("t", ("a", "b"), texts[:n], np.arange(n) % 2).cut(spec) for n in (2, 3)}
    assert told == {2: None, 3: "1 of 3 texts is longer than 8 tokens: cut"}


# ---------------------------------------------------------------------- weights
@pytest.mark.parametrize(
    ("family", "kind", "left_out"),
    [
        ("bert", "AutoModelForSequenceClassification", 4),  # its pooler, its classifier
        ("distilbert", "AutoModelForSequenceClassification", 4),
        ("roberta", "AutoModelForMaskedLM", 5),
        ("gpt2", "AutoModelForCausalLM", 0),
        ("llama", "AutoModelForSequenceClassification", 1),
    ],
)
def test_a_model_with_a_head_is_opened_without_it_and_what_is_left_out_is_said(
    family: str, kind: str, left_out: int, make: Make
) -> None:
    folder = make(family, kind=kind)
    source = opened(folder)
    theirs = of_transformers(folder, family).state_dict()
    for name, value in source.model().state_dict().items():
        assert torch.equal(value, theirs[name]), name
    said = (f"{left_out} tensors of small are left out",) if left_out else ()
    assert tuple(text.partition(":")[0] for text in source.said) == said


def test_weights_of_half_precision_and_in_several_files_are_read_as_float32(make: Make) -> None:
    folder = make()
    model = transformers.AutoModel.from_pretrained(folder).half()
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="10KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    own = opened(folder).model().state_dict()
    assert {value.dtype for value in own.values()} == {torch.float32}
    name = "encoder.layer.1.output.dense.weight"
    assert torch.equal(own[name], model.state_dict()[name].float())


@pytest.mark.parametrize("family", CONFIGS)
def test_weights_of_the_parts_of_a_model_are_a_checkpoint_of_it(
    family: str, make: Make, tmp_path: Path
) -> None:
    folder = make(family, seed=1)
    model, cuts = opened(folder).model(), cut(folder)
    parts = [section(model, cuts, i, i + 1).state_dict() for i in range(LAYERS + 1)]
    file = tmp_path / "other.safetensors"
    save_file({n: v.clone() for part in parts for n, v in part.items()}, file)
    (folder / "model.safetensors").unlink()
    source = open_source("transformers", model=str(folder), checkpoint=file, length=LENGTH)
    wanted = model.state_dict()
    assert source.model().state_dict().keys() == wanted.keys()
    assert all(torch.equal(v, wanted[n]) for n, v in source.model().state_dict().items())
    assert (source.trained_on, source.said) == ("checkpoint other.safetensors", ())


def with_checkpoint(folder: Path, file: Path, **more: Any) -> Source:
    return open_source("transformers", model=str(folder), checkpoint=file, length=LENGTH, **more)


def test_a_checkpoint_of_a_whole_training_is_read_behind_its_prefix(
    make: Make, tmp_path: Path
) -> None:
    folder = make(seed=1, kind="AutoModelForSequenceClassification")
    trained = load_file(folder / "model.safetensors")
    wanted = opened(folder).model().state_dict()
    prefixed = {f"model.{name}": value for name, value in trained.items()}
    torch.save({"state_dict": prefixed, "epoch": 3}, tmp_path / "last.ckpt")
    source = with_checkpoint(make(), tmp_path / "last.ckpt")
    assert all(torch.equal(v, wanted[n]) for n, v in source.model().state_dict().items())
    (said,) = source.said
    assert said.startswith("4 tensors of last.ckpt are left out: model.bert.pooler.dense.")


def test_of_a_student_and_its_teacher_one_is_named(make: Make, tmp_path: Path) -> None:
    student, teacher = (opened(make(seed=seed)).model().state_dict() for seed in (1, 2))
    torch.save({"student": student, "teacher": teacher}, tmp_path / "both.pt")
    with pytest.raises(Refusal) as caught:
        with_checkpoint(make(), tmp_path / "both.pt")
    assert caught.value.faults[0].mend == "source.part=teacher"
    own = with_checkpoint(make(), tmp_path / "both.pt", part="teacher").model().state_dict()
    assert torch.equal(own[WEIGHT], teacher[WEIGHT])


@pytest.mark.parametrize(
    ("more", "mend"),
    [
        ({"max_position_embeddings": 48}, "source.model=FOLDER, with the config.json of the model"),
        ({"intermediate_size": 48}, "looks like the same architecture in another width"),
        ({"num_hidden_layers": 2}, "looks like another architecture"),
    ],
)
def test_a_checkpoint_of_another_config_is_refused_with_the_mend(
    more: dict[str, int], mend: str, make: Make, tmp_path: Path
) -> None:
    save_file(opened(make(**more)).model().state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(Refusal) as caught:
        with_checkpoint(make(), tmp_path / "other.safetensors")
    assert caught.value.faults[0].mend.startswith(mend)


def test_a_checkpoint_that_is_not_there_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        with_checkpoint(make(), tmp_path / "none.pt")
    assert caught.value.faults[0].value == f"source.checkpoint={tmp_path / 'none.pt'}"


Spoil = Callable[[dict[str, Tensor]], Any]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda w: w.pop(WEIGHT), f"1 missing: {WEIGHT}"),
        (
            lambda w: w.update({WEIGHT: w[WEIGHT][:, :5].clone()}),
            rf"1 of another shape: {WEIGHT} [16, 5] for [16, 24]",
        ),
        (lambda w: w.update({WEIGHT: w[WEIGHT] * torch.nan}), f"infinite here: {WEIGHT}"),
    ],
    ids=["missing", "misshapen", "not finite"],
)
def test_weights_that_do_not_fit_are_refused_and_never_random(
    spoil: Spoil, words: str, make: Make
) -> None:
    folder = make()
    weights = load_file(folder / "model.safetensors")
    spoil(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert words in refused(folder).rule


class Runs:
    """What a harmful file of weights holds."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


def test_code_in_a_file_of_weights_is_not_run(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = make()
    (folder / "model.safetensors").unlink()
    torch.save({WEIGHT: Runs()}, folder / "pytorch_model.bin")
    assert "nothing but data" in refused(folder).rule
    assert not Path("ran").exists()


# ---------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("family", "more", "words"),
    [
        ("bert", {"is_decoder": True}, "is_decoder is false"),
        ("deberta-v2", {"conv_kernel_size": 3}, "convolution beside the first"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "longest text of a batch",
        ),
        ("bert", {"vocab_size": 9}, "at most the 9 tokens of the model"),
    ],
)
def test_what_cannot_be_exact_is_refused_with_the_reason(
    family: str, more: dict[str, Any], words: str, make: Make
) -> None:
    assert words in refused(make(family, **more)).rule


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("config.json", "has a config.json"),
        ("model.safetensors", "holds its weights: model.safetensors"),
        ("tokenizer*.json", "a tokenizer has its vocabulary in vocab.txt or tokenizer.json"),
    ],
)
def test_a_folder_that_lacks_something_is_refused_with_its_name(
    lost: str, words: str, make: Make
) -> None:
    folder = make()
    for file in folder.glob(lost):
        file.unlink()
    assert words in refused(folder).rule


def test_a_text_longer_than_the_model_takes_is_refused_with_what_it_takes(make: Make) -> None:
    fault = refused(make(), 100)
    assert (fault.value, fault.mend) == ("source.length=100", "source.length=32")


def test_another_family_is_refused_before_its_code_is_asked_for(make: Make) -> None:
    folder = make()
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "code.Mine"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text("raise SystemExit('this ran')")
    fault = refused(folder)
    assert fault.value.endswith("(mine)")
    assert "models that are cut: bert, roberta" in fault.rule


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub() -> None:
    assert refused("/no/such/folder").rule == "there is a folder of this name"


def test_a_model_that_cannot_be_had_is_refused_with_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    fault = refused("someone/some-bert")
    assert "https://huggingface.co/someone/some-bert into a folder" in fault.mend


def test_the_retries_of_the_hub_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("huggingface_hub.utils._http")
    with quiet_hub():
        log.warning("again")
    log.warning("as before")
    assert [record.message for record in caplog.records] == ["as before"]
