"""Word vectors: the files that people have, words as they stand or in parts, what is not known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tlsweep.errors import Fault, Refusal
from tlsweep.source import dissect, open_architecture, open_source
from tlsweep.target.texts import TextTarget

WORDS = ["the", "film", "don", "'", "t", "of", "'s", "great"]
VECTORS = np.arange(8 * 3, dtype=np.float32).reshape(8, 3) / 7


def lines(words: list[str] = WORDS, vectors: np.ndarray = VECTORS) -> str:
    rows = (" ".join([w, *(f"{x:.8g}" for x in v)]) for w, v in zip(words, vectors, strict=True))
    return "\n".join(rows) + "\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "glove.txt"
    file.write_text(lines())
    return file


def refused(file: Path) -> Fault:
    with pytest.raises(Refusal) as caught:
        open_source("word_vectors", file=str(file))
    (fault,) = caught.value.faults
    return fault


def test_the_files_that_people_have_hold_one_table(table: Path) -> None:
    word2vec, npz, tensors = (table.with_name(f"other{end}") for end in
                              (".vec", ".npz", ".safetensors"))  # fmt: skip
    word2vec.write_text(f"8 3\n{lines()}")
    np.savez(npz, words=np.array(WORDS), vectors=VECTORS)
    save_file({"table": VECTORS}, tensors, metadata={"words": json.dumps(WORDS)})
    files = table, word2vec, npz, tensors
    sources = [open_source("word_vectors", file=str(file)) for file in files]
    assert len({source.fingerprint for source in sources}) == 1
    weight = sources[0].model().state_dict()["vectors.weight"]
    assert torch.equal(weight[1:], torch.from_numpy(VECTORS))
    assert not weight[0].any()  # what fills up, and unknown words


def test_a_word_may_hold_spaces_and_only_the_first_ones_may_be_taken(tmp_path: Path) -> None:
    file = tmp_path / "a.vec"
    file.write_text("3 2\nat at 1 2\nnew york 3 4\nlast 5 6\n")
    source = open_source("word_vectors", file=str(file), words=2)
    assert source.spec.vocabulary == 3
    assert source.model().state_dict()["vectors.weight"].tolist() == [[0, 0], [1, 2], [3, 4]]


def test_words_are_taken_as_they_stand_else_in_parts_and_unknown_ones_are_masked(
    table: Path,
) -> None:
    spec = open_source("word_vectors", file=str(table), length=6).spec
    ids, mask = spec.encode(["The film 's great", "don't xyzzy the", ""])
    assert ids.tolist() == [[1, 2, 7, 8, 0, 0], [3, 4, 5, 0, 1, 0], [0] * 6]
    assert torch.equal(mask, ids > 0)
    assert spec.lengths is not None
    assert list(spec.lengths(["The film 's great", "don't xyzzy the", ""])) == [4, 5, 0]


def test_capitals_count_where_the_table_tells_them_apart(tmp_path: Path) -> None:
    file = tmp_path / "cased.txt"
    file.write_text(lines(["The", "the", *WORDS[2:]]))
    ids, _ = open_source("word_vectors", file=str(file), length=3).spec.encode(["The the THE"])
    assert ids.tolist() == [[1, 2, 0]]


def test_how_many_words_are_not_known_is_said_of_the_target(table: Path) -> None:
    source = open_source("word_vectors", file=str(table))
    target = TextTarget("t", ("a", "b"), ["the film xyzzy", "of plugh the"], np.array([0, 1]))
    assert target.unknown(source.spec) == (
        "2 of 6 words (33.3%) are not known to the source: left out"
    )
    known = TextTarget("t", ("a", "b"), ["the film", "of the"], np.array([0, 1]))
    assert known.unknown(source.spec) is None


def test_its_one_cut_point_gives_the_vectors_of_words(table: Path) -> None:
    model, example = open_architecture("word_vectors", file=str(table), length=5)
    cuts = dissect("word_vectors", model, example)
    assert cuts.names == ("input", "vectors")
    assert cuts[1].shape == (5, 3)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("the 1 2\nfilm 1\n", "line 2 has not 2 numbers"),
        ("the 1 2\nfilm 1 x\n", "could not convert string to float: np.str_('x')"),
        ("", "its first line is no word with numbers"),
    ],
)
def test_what_is_no_table_is_refused_with_the_line(
    tmp_path: Path, content: str, value: str
) -> None:
    file = tmp_path / "bad.txt"
    file.write_text(content)
    assert refused(file).value.startswith(f"source.file={file} (")
    assert value.split(" np.")[0].rstrip(":") in refused(file).value


def test_a_word_twice_and_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    file.write_text("the 1 2\nfilm 3 4\nthe 5 6\n")
    assert refused(file).value == f"source.file={file}: the twice"
    file = tmp_path / "worse.txt"
    file.write_text("the 1 nan\nfilm 3 4\n")
    assert refused(file).rule == "vectors are finite numbers"
    assert refused(tmp_path / "gone.txt").rule == "a file of word vectors that is there"


def test_an_array_that_names_code_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, words=np.array(WORDS, dtype=object), vectors=VECTORS)
    assert "allow_pickle=False" in refused(file).value
