"""Tables of texts: columns by their usual names, folders of splits, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from tlsweep.cli import conf_folder
from tlsweep.config.read import read
from tlsweep.errors import Fault, Refusal
from tlsweep.question import Question
from tlsweep.target import open_target, partition
from tlsweep.terms import Split, TokenSpec
from tlsweep.trial import question_of

REAL = Path(os.environ.get("TLSWEEP_REAL_DATA", "../shared/data"))
ROWS = [("good", "a fine film"), ("bad", "no plot"), ("good", "warm, funny"), ("bad", "a bore")]


def table(file: Path, rows: list[tuple[str, ...]], names: str = "label\ttext") -> Path:
    file.write_text("\n".join([names, *("\t".join(row) for row in rows)]) + "\n")
    return file


def faults_of(**options: object) -> list[Fault]:
    with pytest.raises(Refusal) as caught:
        open_target("text", **options)
    return list(caught.value.faults)


def test_texts_and_their_classes_are_read_by_the_usual_names_of_columns(tmp_path: Path) -> None:
    target = open_target("text", file=table(tmp_path / "films.tsv", ROWS))
    assert (target.name, target.things, target.reads) == ("films", "texts", TokenSpec)
    assert target.output_names == ("bad", "good")
    assert target.labels.tolist() == [1, 0, 1, 0]
    assert target.texts == tuple(text for _, text in ROWS)
    assert target.given == {}
    assert (
        target.said[0] == "columns were found by their names: target.input=text target.label=label"
    )


def test_the_four_kinds_of_tables_are_one_target(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = {"label": [label for label, _ in ROWS], "text": [text for _, text in ROWS]}
    tsv = table(tmp_path / "a.tsv", ROWS)
    csv = table(tmp_path / "a.csv", [(label, f'"{text}"') for label, text in ROWS])
    csv.write_text(csv.read_text().replace("\t", ","))
    lines = tmp_path / "a.jsonl"
    lines.write_text("\n".join(json.dumps({"label": a, "text": b}) for a, b in ROWS))
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    files = tsv, csv, lines, tmp_path / "a.parquet"
    assert len({open_target("text", file=file).fingerprint for file in files}) == 1


def test_tables_of_a_folder_are_splits_by_their_names(tmp_path: Path) -> None:
    table(tmp_path / "train.tsv", ROWS)
    table(tmp_path / "dev.tsv", ROWS[:2])
    table(tmp_path / "Test.tsv", ROWS[2:])
    table(tmp_path / "notes.tsv", ROWS)
    target = open_target("text", file=tmp_path)
    rows = {split: target.given[split].tolist() for split in Split if split in target.given}
    assert {split: [target.texts[i] for i in own] for split, own in rows.items()} == {
        Split.FIT: [text for _, text in ROWS],
        Split.SELECT: ["a fine film", "no plot"],
        Split.REPORT: ["warm, funny", "a bore"],
    }
    assert target.said[-1] == "left out of the folder: notes.tsv"


@pytest.mark.parametrize("below", ["", "data/"])
def test_a_zip_of_a_folder_of_tables_is_what_the_folder_is(tmp_path: Path, below: str) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    table(folder / "train.tsv", ROWS)
    table(folder / "test.tsv", ROWS[2:])
    with ZipFile(tmp_path / "own.zip", "w") as file:
        for name in ("train.tsv", "test.tsv"):
            file.write(folder / name, f"{below}{name}")
        file.writestr(f"{below}._train.tsv", "of a tool")
    wanted = open_target("text", file=folder)
    places = [tmp_path / "own.zip", *([tmp_path / "own.zip" / "data"] if below else [])]
    for found in (open_target("text", file=place) for place in places):
        assert found.fingerprint == wanted.fingerprint
        assert {s: r.tolist() for s, r in found.given.items()} == {
            s: r.tolist() for s, r in wanted.given.items()
        }
        assert found.said == wanted.said


def test_two_tables_of_one_split_are_refused(tmp_path: Path) -> None:
    table(tmp_path / "train.tsv", ROWS)
    table(tmp_path / "Train.csv", ROWS[:2])
    (fault,) = faults_of(file=tmp_path)
    assert fault.value == f"target.file={tmp_path}: Train.csv and train.tsv"


def test_texts_of_one_author_stay_together(tmp_path: Path) -> None:
    rows = [("ab"[i % 2], f"text {i}", f"author {i // 4}") for i in range(40)]
    target = open_target("text", file=table(tmp_path / "a.tsv", rows, "label\ttext\tauthor"))
    parts = partition(
        target.strata, fit_size=None, select_fraction=0.2, report_fraction=0.3, seed=0, folds=3,
        given=target.given, same_as=target.same_as, groups=target.groups,
        class_names=target.output_names,
    )  # fmt: skip
    authors = np.array(target.groups)
    assert not {*authors[parts.pool]} & {*authors[parts.report]}
    assert "10 groups (author) are kept whole; intervals take texts one by one" in target.said[-1]


def test_other_splits_or_groups_of_the_same_texts_are_another_target(tmp_path: Path) -> None:
    """Else a study would go on with other folds than it was begun with."""
    prints = set()
    for n, (splits, authors) in enumerate((("ttte", "abcd"), ("ttee", "abcd"), ("ttte", "aacd"))):
        parts = [{"t": "train", "e": "test"}[letter] for letter in splits]
        rows = [(*row, part, who) for row, part, who in zip(ROWS, parts, authors, strict=True)]
        file = table(tmp_path / f"{n}.tsv", rows, "label\ttext\tsplit\tauthor")
        prints.add(open_target("text", file=file).fingerprint)
    assert len(prints) == 3


def test_numbers_and_labels_are_asked_of_texts_too(tmp_path: Path) -> None:
    rows = [(f"{i / 7:.3f}", "a|b" if i % 2 else "b", f"text {i}") for i in range(12)]
    file = table(tmp_path / "a.tsv", rows, "stars\ttopics\ttext")
    numbers = open_target("text", file=file, label="stars")
    assert (numbers.task.kind, numbers.labels.shape) == ("numbers", (12, 1))
    with pytest.raises(Refusal, match="label b"):  # all have it
        open_target("text", file=file, label="topics")


def test_empty_texts_and_answers_are_told_by_their_rows_and_together(tmp_path: Path) -> None:
    file = table(tmp_path / "a.tsv", [*ROWS, ("good", " "), ("", "well")])
    empty, answer = faults_of(file=file)
    assert empty.value == "target.input=text: 1 of 6 texts are empty (row 5)"
    assert answer.value == "target.label=label: 1 of 6 cells are empty (row 6)"
    assert answer.rule == "every text has an answer"


def test_what_is_wrong_is_told_of_texts(tmp_path: Path) -> None:
    (alone,) = faults_of(file=table(tmp_path / "a.tsv", [*ROWS, ("odd", "one of a kind")]))
    assert alone.value == "target.label=label, of which one text has class odd"
    assert alone.mend == "add texts of these classes, or leave them out"
    (strange,) = faults_of(file=table(tmp_path / "b.tsv", ROWS, "verdict\twords"))[:1]
    assert strange.value == f"target.file={tmp_path / 'b.tsv'}: which column has the texts?"
    assert strange.mend == "target.input=COLUMN"


def test_a_folder_without_train_and_tables_that_differ_are_refused(tmp_path: Path) -> None:
    table(tmp_path / "test.tsv", ROWS)
    (fault,) = faults_of(file=tmp_path)
    assert fault.value == f"target.file={tmp_path}: a folder without a table called train"
    table(tmp_path / "train.tsv", ROWS, "label\tsentence")
    (fault,) = faults_of(file=tmp_path)
    assert fault.value == f"{tmp_path / 'test.tsv'} has the columns label, text"
    assert fault.rule == "tables of one folder have the same columns: label, sentence"


def test_a_question_tells_of_texts(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("film 1 2\nplot 3 4\n")
    rows = [("ab"[i % 2], f"text {i}") for i in range(30)]
    table(tmp_path / "train.tsv", [*rows, ("a", "twice")])
    table(tmp_path / "test.tsv", [("a", "twice"), ("b", "the film")])
    asked = (
        "source=word_vectors",
        f"source.file={words}",
        "target=text",
        f"target.file={tmp_path}",
    )

    def opened(*more: str) -> Question:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return question_of(read(compose("config", overrides=[*asked, *more])))

    said = opened().said()
    assert (
        "1 texts of the fit split are left out: their content is also in a split that is"
        in " ".join(said)
    )
    assert "63 of 64 words (98.4%) are not known to the source: left out" in said
    with pytest.raises(Refusal) as caught:
        opened("target.fit_size=31")
    (fault,) = caught.value.faults
    assert "the texts left" in fault.rule


def test_real_questions_are_read_whole(tmp_path: Path) -> None:
    folder = REAL / "text_trec6"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    target = open_target("text", file=folder)
    assert len(target.texts) == 5452 + 500
    assert len(target.output_names) == 6
    assert {s: len(rows) for s, rows in target.given.items()} == {
        Split.FIT: 5452, Split.REPORT: 500,
    }  # fmt: skip
