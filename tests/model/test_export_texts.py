"""Models of texts in other formats: tokens and their mask in, the model's own answers out."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from folders import ABOUT
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from small_text_models import CONFIGS, WORDS, write
from torch import Tensor, nn

import tlsweep
from tlsweep.cli import conf_folder
from tlsweep.commands import export
from tlsweep.config.read import read
from tlsweep.cut import section
from tlsweep.errors import Refusal, TlsweepError
from tlsweep.heads.head import Head, Pooling
from tlsweep.model import NotExported, TakenModel, export_model, write_model
from tlsweep.model.card import SourceCard
from tlsweep.source import carry_files, dissect, input_spec, open_architecture
from tlsweep.train.network import PlanNetwork
from tlsweep.trial import resolve
from tlsweep.trial.probe import fitted_head

TOLERANCE = 1e-4  # as export states it
LENGTH = 10
ANSWERS = {
    "classes": lambda good, bad: "up" if good >= bad else "down",
    "labels": lambda good, bad: "|".join(["sun"] * (good > 0) + ["rain"] * (bad > 0)) or "fog",
    "numbers": lambda good, bad: f"{1.5 * good - bad:.1f}",
}
ASKED = ["good good the sun", "bad", "the xyzzy day good", "", "rain " * 20]
SMALL = {"initializer_range": 0.02}
ONE_LAYER: dict[str, dict[str, Any]] = {
    "bert": {**SMALL, "num_hidden_layers": 1},
    "gpt2": {**SMALL, "n_layer": 1},
    "t5": {"initializer_factor": 1.0, "num_layers": 1},
}
Make = Callable[..., Path]


@dataclass(frozen=True)
class Cut:
    """Blocks of a small source, and how a head reads them."""

    blocks: list[nn.Module]
    shape: tuple[int, ...]
    pooling: Pooling


def of_texts(file: Path, kind: str) -> Path:
    """A table of texts whose answers follow from their words."""
    draw, rows = np.random.default_rng(0), ["text\tlabel"]
    for _ in range(120):
        words = draw.choice(WORDS, draw.integers(3, 12)).tolist()
        rows.append(f"{' '.join(words)}\t{ANSWERS[kind](words.count('good'), words.count('bad'))}")
    file.write_text("\n".join(rows) + "\n")
    return file


def of_words(file: Path) -> Path:
    """A table of word vectors that nobody trained."""
    vectors = np.random.default_rng(0).normal(size=(len(WORDS), 6)).astype(np.float32)
    np.savez(file, words=np.array(WORDS), vectors=vectors)
    return file


@pytest.fixture(scope="session")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Writes the model folder of a frozen source of texts, with a head that was fitted."""

    def make(source: str = "words", kind: str = "classes") -> Path:
        root = tmp_path_factory.mktemp("texts")
        if source == "words":
            own = ("source=word_vectors", f"source.file={of_words(root / 'vectors.npz')}")
        else:
            folder = write(root / "small", source, **ONE_LAYER[source])
            own = ("source=transformers", f"source.model={folder}")
        target = (f"target.file={of_texts(root / 'texts.tsv', kind)}", f"target.kind={kind}")
        lines = ("target=text", *target, f"source.length={LENGTH}", f"output_dir={root}")
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            frozen = ("plan=feature_extractor", f"features.cache_dir={root / 'features'}")
            trial = resolve(read(compose("config", overrides=[*own, *lines, *frozen])))
        network = trial.question.network(trial.plan, trial.train, trial.seed)
        network.head = fitted_head(trial, trial.plan)
        network.thaw(trial.plan.trained)
        return write_model(root, trial, network.eval(), ABOUT)

    return make


@pytest.fixture(scope="session")
def words_folder(taken: Make) -> Path:
    """A folder of word vectors."""
    return taken()


def cut(folder: Path, family: str) -> Cut:
    """A small source: its stem, its first layer and its last one."""
    if family == "words":
        name, how = "word_vectors", {"file": str(of_words(folder / "vectors.npz"))}
    else:
        name, how = "transformers", {"model": str(write(folder / "small", family))}
    model, example = open_architecture(name, length=LENGTH, **how)
    cuts = dissect(name, model, example)
    top = cuts[len(cuts) - 1]
    numbers = sorted({0, 1, top.index - 1} & set(range(top.index)))
    blocks = [section(model, cuts, i, i + 1) for i in numbers]
    return Cut(blocks, top.shape, Pooling(top.channel_dim, 1, top.tokens))


def under_a_head(found: Cut, kind: str, card_of: Path) -> TakenModel:
    """A source with a head whose numbers are random, in place of what lies in a model folder."""
    head = Head(found.shape, found.pooling, 2, kind=kind)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in head.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=draw))
    return TakenModel(PlanNetwork(found.blocks, head), tlsweep.load_model(card_of).card)


def some_texts(n: int) -> tuple[Tensor, Tensor]:
    """Tokens that all sources here know, and masks of many lengths, with gaps too."""
    draw = torch.Generator().manual_seed(n)
    ids = torch.randint(len(WORDS) + 1, (n, LENGTH), generator=draw)
    return ids, torch.rand(n, LENGTH, generator=draw) < torch.rand(n, 1, generator=draw)


def session_of(file: Path) -> Callable[..., NDArray[np.float32]]:
    opened = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda ids, mask: opened.run(["logits"], {"ids": ids, "mask": mask})[0]


def softmax(logits: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(logits).softmax(1)


# ---------------------------------------------------------------------- families and heads
FIRST = ("bert", "gpt2", "t5", "llama")  # unlike one another; the others take a minute


def few_at_first(family: str) -> Any:
    return pytest.param(family, marks=() if family in FIRST else pytest.mark.slow)


def program_answers_alike(model: TakenModel, file: Path) -> None:
    assert export_model(model, "torch_export", file) <= TOLERANCE
    program = torch.export.load(file).module()
    for n in (1, 2, 7):
        ids, mask = some_texts(n)
        with torch.no_grad():
            wanted, found = model(ids, {"mask": mask}), program(ids, mask)
        assert wanted.isfinite().all()
        assert torch.allclose(found, wanted, rtol=0, atol=TOLERANCE * float(wanted.abs().max()))


@pytest.mark.parametrize("family", [few_at_first(family) for family in CONFIGS])
def test_the_program_of_every_family_gives_the_models_logits_for_any_number_of_texts(
    family: str, words_folder: Path, tmp_path: Path
) -> None:
    program_answers_alike(
        under_a_head(cut(tmp_path, family), "linear", words_folder), tmp_path / "model.pt2"
    )


@pytest.mark.parametrize("head", ["linear", "mlp", "attention", "lstm", "conv"])
def test_the_program_of_every_head_on_texts_gives_the_models_logits(
    head: str, words_folder: Path, tmp_path: Path
) -> None:
    program_answers_alike(
        under_a_head(cut(tmp_path, "words"), head, words_folder), tmp_path / "model.pt2"
    )


def test_the_program_of_a_bag_of_words_gives_the_models_logits(
    words_folder: Path, tmp_path: Path
) -> None:
    raw = Cut([], (LENGTH,), Pooling(1, 1, None, bag=5))
    program_answers_alike(under_a_head(raw, "linear", words_folder), tmp_path / "model.pt2")


@pytest.mark.parametrize("head", ["attention", "lstm"])
def test_onnx_reads_the_tokens_that_are_there_in_their_order(
    head: str, words_folder: Path, tmp_path: Path
) -> None:
    model = under_a_head(cut(tmp_path, "words"), head, words_folder)
    assert export_model(model, "onnx", tmp_path / "model.onnx") <= TOLERANCE
    ids, mask = some_texts(7)
    with torch.no_grad():
        wanted = model(ids, {"mask": mask})
    found = session_of(tmp_path / "model.onnx")(ids.numpy(), mask.numpy())
    assert np.allclose(found, wanted, rtol=0, atol=TOLERANCE * float(wanted.abs().max()))


# ---------------------------------------------------------------------- from text to answer
def test_what_export_says_of_the_tokens_is_true(
    taken: Make,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # of earlier tests in this process there may be handlers whose streams are closed
    monkeypatch.setattr(logging, "raiseExceptions", False)
    folder, file = taken("bert"), tmp_path / "model.onnx"
    capfd.readouterr()
    export.run([f"model={folder}", "format=onnx", f"output={file}"], Path())
    out, err = capfd.readouterr()
    assert "checked at 1 and 3 texts" in out
    assert f"ids: int64 [batch, {LENGTH}]; mask: bool [batch, {LENGTH}]." in out
    assert err == ""
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []
    model = tlsweep.load_model(folder)
    ours, theirs = re.findall(r"(?:tlsweep\.load_model|AutoTokenizer).*?\(TEXTS.*?\)", out)
    known = {"tlsweep": tlsweep, "AutoTokenizer": transformers.AutoTokenizer, "TEXTS": ASKED}
    ids, mask = eval(ours, known)
    told = eval(theirs, known)
    assert told["input_ids"] == ids.tolist()
    assert np.array(told["attention_mask"], bool).tolist() == mask.tolist()
    found = session_of(file)(np.array(told["input_ids"]), np.array(told["attention_mask"], bool))
    assert torch.allclose(softmax(found), model.predict(ASKED), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_auto_tokenizer_and_onnx_give_the_probabilities_of_predict(
    family: str, taken: Make, tmp_path: Path
) -> None:
    model = tlsweep.load_model(taken(family))
    export_model(model, "onnx", tmp_path / "model.onnx")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model.card.source.options["model"])
    tokenizer.padding_side = "left"  # as some models of transformers have it
    if tokenizer.pad_token is None:  # any token fills up: it is masked
        tokenizer.pad_token = tokenizer.unk_token
    told = tokenizer(
        ASKED, padding="max_length", padding_side="right", truncation=True, max_length=LENGTH
    )
    ids, mask = np.array(told["input_ids"]), np.array(told["attention_mask"], bool)
    found = softmax(session_of(tmp_path / "model.onnx")(ids, mask))
    assert torch.allclose(found, model.predict(ASKED), rtol=0, atol=TOLERANCE)


def test_places_of_words_and_onnx_give_the_probabilities_of_predict(
    words_folder: Path, tmp_path: Path
) -> None:
    model = tlsweep.load_model(words_folder)
    export_model(model, "onnx", tmp_path / "model.onnx")
    place = {word: i for i, word in enumerate(WORDS, start=1)}
    ids = np.zeros((len(ASKED), LENGTH), np.int64)
    for row, text in enumerate(ASKED):
        places = [place.get(word, 0) for word in text.split()][:LENGTH]
        ids[row, : len(places)] = places
    found = softmax(session_of(tmp_path / "model.onnx")(ids, ids > 0))
    assert torch.allclose(found, model.predict(ASKED), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("classes", lambda logits: logits.softmax(1)),
        ("labels", lambda logits: logits.sigmoid()),
        ("numbers", lambda logits: logits),
    ],
)
def test_the_program_in_the_folder_gives_what_predict_gives(
    kind: str, made: Callable[[Tensor], Tensor], taken: Make
) -> None:
    folder = taken("words", kind)
    assert {file.name for file in folder.iterdir()} == {
        "model.json", "model.safetensors", "model.pt2", "load.py", "source"
    }  # fmt: skip
    notes = {"model.json": ""}
    program = torch.export.load(folder / "model.pt2", extra_files=notes).module()
    model = tlsweep.load_model(folder)
    assert json.loads(notes["model.json"])["output_names"] == list(model.output_names)
    assert model.card.target.kind == kind
    with torch.no_grad():
        found = made(program(*model.encode(ASKED)))
    assert torch.allclose(found, model.predict(ASKED), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "source",
    ["words", "bert", *(pytest.param(n, marks=pytest.mark.slow) for n in ("gpt2", "t5"))],
)
def test_a_folder_answers_alike_where_nothing_is_left_of_its_source(
    source: str, taken: Make, tmp_path: Path
) -> None:
    folder = taken(source)
    wanted = tlsweep.load_model(folder).predict(ASKED)
    moved = folder.parent.rename(tmp_path / "study") / "model"
    for left in (moved.parent / "small", moved.parent / "features"):
        shutil.rmtree(left, ignore_errors=True)
    (moved.parent / "vectors.npz").unlink(missing_ok=True)
    assert str(folder.parent) not in (moved / "model.json").read_text()
    assert torch.equal(tlsweep.load_model(moved).predict(ASKED), wanted)


@pytest.mark.parametrize("family", CONFIGS)
def test_the_carried_tokenizer_of_every_family_is_the_same(family: str, tmp_path: Path) -> None:
    how = {"model": str(write(tmp_path / "small", family)), "length": LENGTH}
    (tmp_path / "carried").mkdir()
    carried = carry_files("transformers", tmp_path / "carried", **how)
    assert carried == {"model": "."}
    again = input_spec("transformers", **how | {"model": str(tmp_path / "carried")})
    assert again == input_spec("transformers", **how)  # by its digest
    assert not list((tmp_path / "carried").glob("*.safetensors"))


# ---------------------------------------------------------------------- what is refused
def test_a_folder_that_was_changed_below_is_refused(taken: Make, tmp_path: Path) -> None:
    folder = shutil.copytree(taken("bert"), tmp_path / "model")
    config = folder / "source" / "config.json"
    config.write_text(config.read_text().replace('"bert"', '"gpt2"'))
    with pytest.raises(Refusal, match=r"source/config\.json was changed"):
        tlsweep.load_model(folder)


def test_a_source_whose_tokenizer_is_another_one_now_is_refused(words_folder: Path) -> None:
    taken = tlsweep.load_model(words_folder)
    before = taken.card.tokens.model_copy(update={"tokenizer": "words of before"})
    model = TakenModel(taken.network, taken.card.model_copy(update={"preprocessing": before}))
    with pytest.raises(Refusal, match="the tokens that it was trained on"):
        model.predict(["good"])


def test_a_card_does_not_lead_out_of_its_folder(words_folder: Path) -> None:
    source = json.loads((words_folder / "model.json").read_text())["source"]
    for outside in ("../../vectors.npz", "/etc/passwd", "local-dir:.."):
        card = SourceCard(**{**source, "carried": {"file": outside}})
        with pytest.raises(ValueError, match="leads out of the folder"):
            card.at(words_folder)


def test_a_format_of_images_alone_keeps_no_other_from_being_written(
    words_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(TlsweepError, match=r"format=timm.* a model of source=word_vectors"):
        export.run(
            [f"model={words_folder}", "format=timm,torch_export", f"output={tmp_path}"], Path()
        )
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt2"]


class _Branches(nn.Module):
    """Whose forward depends on the words it sees: no format can hold it."""

    def forward(self, z: Tensor, side: object) -> Tensor:
        return z * 2 if bool(z.sum() > 3) else z


@pytest.mark.parametrize("form", ["onnx", "torch_export"])
def test_a_model_that_branches_on_words_is_not_exported(
    form: str, words_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = cut(tmp_path, "words")
    branching = Cut([*found.blocks, _Branches()], found.shape, found.pooling)
    with pytest.raises(NotExported, match="data-dependent"):
        export_model(under_a_head(branching, "linear", words_folder), form, tmp_path / "m")
    assert not (tmp_path / "m").exists()
    assert capfd.readouterr().err == ""


def test_images_are_not_prepared_and_texts_are_not_encoded_by_a_model_of_the_other(
    words_folder: Path, probe_folder: Any
) -> None:
    with pytest.raises(Refusal, match="this one takes texts"):
        tlsweep.load_model(words_folder).prepare("a.jpg")
    with pytest.raises(Refusal, match="this one takes images"):
        tlsweep.load_model(probe_folder.folder).encode(["a text"])
