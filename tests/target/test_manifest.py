"""A table of image files: what its columns mean is seen, said, and refused where it cannot be."""

from __future__ import annotations

import builtins
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.question import Question, open_question
from tlsweep.target import check_target, open_target
from tlsweep.terms import ImageSpec, Split

Row = dict[str, object]
RGB = ImageSpec(channels=3, size=8, mean=(0.0,) * 3, std=(1.0,) * 3, resize=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve different images, 0.png to 11.png."""
    draw = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(draw.integers(0, 256, (9, 10, 3), np.uint8)).save(tmp_path / f"{i}.png")
    return tmp_path


def rows(label: Callable[[int], object], n: int = 12, **more: Callable[[int], object]) -> list[Row]:
    made = {"label": label, **more}
    return [{"path": f"{i}.png"} | {k: of(i) for k, of in made.items()} for i in range(n)]


def table(folder: Path, lines: Sequence[Row], name: str = "t.csv") -> Path:
    file = folder / name
    if file.suffix == ".jsonl":
        file.write_text("\n".join(json.dumps(row) for row in lines))
        return file
    comma = {".csv": ",", ".tsv": "\t"}[file.suffix]
    cells = [[*lines[0]], *([str(cell) for cell in row.values()] for row in lines)]
    file.write_text("".join(comma.join(row) + "\n" for row in cells))
    return file


def opened(file: Path, **options: object) -> Any:
    return open_target("manifest", file=file, **options)


def refused(file: Path, **options: object) -> list[tuple[str, str, str]]:
    with pytest.raises(Refusal) as caught:
        check_target("manifest", file=file, **options)
    return [(fault.value, fault.rule, fault.mend) for fault in caught.value.faults]


# ---------------------------------------------------------------------- the same as folders
def test_a_table_of_the_files_of_a_folder_is_that_folder(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    lines = []
    for part, n in (("train", 8), ("test", 5)):
        for name in ("ant", "bee"):
            for k in range(n):
                file = tmp_path / "all" / part / name / f"{k}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels = draw.integers(0, 256, (11, 14, 3), np.uint8)
                Image.fromarray(pixels if (part, k) != ("train", 7) else 0 * pixels).save(file)
                lines.append({"file": f"all/{part}/{name}/{k}.png", "class": name, "set": part})
    one = open_target("image_folder", root=tmp_path / "all")
    other = opened(table(tmp_path, lines))
    assert other.output_names == one.output_names == ("ant", "bee")
    for first, second in ((one.labels, other.labels), (one.same_as, other.same_as)):
        assert np.array_equal(first, second)
    assert {s: ids.tolist() for s, ids in one.given.items()} == {
        s: ids.tolist() for s, ids in other.given.items()
    }
    seen = [t.dataset(range(26), RGB).tensors() for t in (one, other)]
    assert torch.equal(seen[0].z, seen[1].z)
    assert [one.called(3), other.called(3)] == ["train/ant/3.png", "all/train/ant/3.png"]


# ---------------------------------------------------------------------- files
@pytest.mark.parametrize("name", ["t.csv", "T.CSV", "t.tsv", "t.jsonl", "t.parquet"])
def test_the_ending_of_a_table_says_how_it_is_read(folder: Path, name: str) -> None:
    lines = rows(lambda i: "ab"[i % 2], split=lambda i: "train" if i < 8 else "Testing")
    if name.endswith("parquet"):
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        file = folder / name
        parquet.write_table(arrow.Table.from_pylist(lines), file)
    else:
        file = table(folder, lines, name.lower()).rename(folder / name)
    target = opened(file)
    assert target.output_names == ("a", "b")
    assert target.labels.tolist() == [0, 1] * 6
    assert target.given[Split.REPORT].tolist() == [8, 9, 10, 11]


def test_a_spreadsheets_semicolons_quotes_and_byte_order_mark_are_read(folder: Path) -> None:
    lines = [f'"{i}.png";"a, {i % 2}"\n' for i in range(12)]
    (folder / "t.csv").write_text("\ufeffPath;Label\n" + "".join(lines), encoding="utf-8")
    assert opened(folder / "t.csv").output_names == ("a, 0", "a, 1")


def test_parquet_without_pyarrow_is_refused_with_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "t.parquet").write_bytes(b"PAR1")
    found = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    ((_, _, mend),) = refused(folder / "t.parquet")
    assert mend.startswith("pip install pyarrow")


def test_a_table_that_is_not_there_is_refused_with_the_nearest_beside_it(folder: Path) -> None:
    table(folder, rows(lambda i: i % 2), "labels.csv")
    ((value, rule, mend),) = refused(folder / "label.csv")
    assert value == f"target.file={folder / 'label.csv'}"
    assert "beside it: labels.csv" in rule
    assert mend == f"target.file={folder / 'labels.csv'}"


@pytest.mark.parametrize(
    ("name", "content", "value"),
    [
        ("t.xlsx", b"PK", "t.xlsx"),
        ("t.csv", b"", "no rows"),
        ("t.csv", b"path,label\n", "no rows"),
        ("t.csv", b"path,label\n0.png,a\n1.png,a,b\n", "row 2 has another number of cells"),
        ("t.csv", b"path,path\n0.png,a\n", "column path twice"),
        ("t.csv", "path,label\n0.png,é\n".encode("latin-1"), "UnicodeDecodeError"),
        ("t.jsonl", b'{"path": "0.png"\n', "JSONDecodeError"),
        ("t.jsonl", b"[1]\n", "line 1 is no object"),
        ("t.parquet", b"no parquet", "ArrowInvalid"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(
    folder: Path, name: str, content: bytes, value: str
) -> None:
    (folder / name).write_bytes(content)
    ((found, _, _),) = refused(folder / name)
    assert value in found


def test_a_table_in_a_zip_is_read_there_with_its_images(folder: Path, tmp_path: Path) -> None:
    file = table(folder, rows(lambda i: "ab"[i % 2]))
    packed = Path(
        shutil.make_archive(str(tmp_path.with_name(f"{tmp_path.name} all")), "zip", folder)
    )
    plain, inside, found = opened(file), opened(packed / "t.csv"), opened(packed)
    assert plain.fingerprint == inside.fingerprint == found.fingerprint
    ids = list(range(12))
    images = [one.dataset(ids, RGB).tensors().z for one in (plain, inside, found)]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])


def test_a_zip_with_several_tables_is_refused_with_their_paths(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("a.csv", "b.csv", ".c.csv"):
        table(folder, rows(lambda i: "ab"[i % 2]), name)
    packed = Path(
        shutil.make_archive(str(tmp_path.with_name(f"{tmp_path.name} all")), "zip", folder)
    )
    ((value, _, mend),) = refused(packed)
    both = f"{packed / 'a.csv'}, {packed / 'b.csv'}"
    assert value == f"target.file={packed}: 2 tables are in it: {both}"
    assert mend == f"target.file={packed / 'a.csv'}"


def test_missing_images_are_counted_and_the_first_ten_named(folder: Path) -> None:
    lines = rows(lambda i: i % 2, n=24)
    ((value, rule, _),) = refused(table(folder, lines))
    gone = ", ".join(f"{i}.png" for i in range(12, 22))
    assert value == f"target.input=path: 12 of 24 files are not there: {gone}, and 2 more"
    assert str(folder) in rule


def test_images_that_cannot_be_decoded_are_counted_and_named(folder: Path) -> None:
    (folder / "3.png").write_bytes(b"")
    file = table(folder, rows(lambda i: i % 2))
    check_target("manifest", file=file)
    with pytest.raises(Refusal) as caught:
        opened(file)
    (fault,) = caught.value.faults
    assert fault.value == f"target.file={file}, 1 of 12 images: 3.png (empty file)"


def test_rows_whose_images_cannot_be_read_are_left_out_and_said(folder: Path) -> None:
    (folder / "3.png").write_bytes(b"")
    (folder / "4.png").unlink()
    lines = rows(lambda i: "ant" if i < 6 else "bee", split=lambda i: ("train", "test")[i % 2])
    target = opened(table(folder, lines), on_error="skip", kind="classes")
    assert target.labels.tolist() == [0] * 4 + [1] * 6
    assert target.given[Split.REPORT].tolist() == [1, 3, 5, 7, 9]
    assert target.called(3) == "5.png"
    assert target.said[1] == (
        "2 of 12 images are left out, since they cannot be read: 3.png (empty file),"
        " 4.png (No such file or directory)"
    )
    with pytest.raises(Refusal, match=r"4\.png"):
        opened(table(folder, lines))


def test_a_class_whose_images_are_all_left_out_is_refused_by_name(folder: Path) -> None:
    for i in (0, 1):
        (folder / f"{i}.png").write_bytes(b"")
    lines = rows(lambda i: "ant" if i < 2 else "bee" if i < 7 else "wasp")
    with pytest.raises(Refusal) as caught:
        opened(table(folder, lines), on_error="skip")
    (fault,) = caught.value.faults
    assert fault.value == "no image of ant can be read"


def test_absolute_paths_are_files_too(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [row | {"path": str(folder / str(row["path"]))} for row in rows(lambda i: i % 2)]
    other = tmp_path_factory.mktemp("elsewhere")
    assert len(opened(table(other, lines)).labels) == 12


# ---------------------------------------------------------------------- columns
def test_columns_of_usual_names_are_taken_and_it_is_said(folder: Path) -> None:
    lines = [
        {"IMG": f"{i}.png", "Category": "ab"[i % 2], "Patient": f"p{i // 2}"} for i in range(12)
    ]
    target = opened(table(folder, lines))
    assert target.said == (
        "columns were found by their names: target.input=IMG target.label=Category"
        " target.group=Patient",
        "answers (Category) are taken as classes: 2 different words; target.kind= names another"
        " kind",
        "6 groups (Patient) are kept whole; intervals take images one by one: they are narrow where"
        " images of one group are alike",
    )
    assert target.groups == tuple(f"p{i // 2}" for i in range(12))


def test_named_columns_and_kinds_leave_nothing_to_say(folder: Path) -> None:
    lines = [{"a": f"{i}.png", "b": i % 2, "group": ""} for i in range(12)]
    target = opened(table(folder, lines), input="a", label="b", kind="classes", group="none")
    assert target.said == ()
    assert target.groups is None


def test_an_unknown_column_is_refused_with_the_nearest_and_the_list(folder: Path) -> None:
    file = table(folder, rows(lambda i: i % 2, species=lambda i: i % 2))
    ((value, rule, mend),) = refused(file, label="specie")
    assert value == "target.label=specie"
    assert rule == "a column is one of: path, label, species"
    assert mend == "target.label=species"


def test_a_table_without_usual_columns_is_refused_with_its_columns(folder: Path) -> None:
    file = table(folder, [{"a": f"{i}.png", "fold": i % 2} for i in range(12)])
    first, second = refused(file)
    assert "image files" in first[0]
    assert first[1].endswith("here there are: a, fold")
    assert (first[2], second[2]) == ("target.input=COLUMN", "target.label=COLUMN")


# ---------------------------------------------------------------------- kinds
def test_few_whole_numbers_are_classes_in_the_order_of_their_values(folder: Path) -> None:
    target = opened(table(folder, rows(lambda i: (10, 9, 2)[i % 3])))
    assert target.task.kind == "classes"
    assert target.output_names == ("2", "9", "10")
    assert target.labels.tolist() == [2, 1, 0] * 4


def test_a_class_is_one_however_its_accents_are_put_together(folder: Path) -> None:
    lines = rows(lambda i: ("\u00e9t\u00e9", "e\u0301te\u0301", "hiver")[i % 3])
    assert opened(table(folder, lines)).output_names == ("hiver", "\u00e9t\u00e9")


def test_more_than_twenty_whole_numbers_are_numbers_and_twenty_are_classes(folder: Path) -> None:
    for different, kind in ((20, "classes"), (21, "numbers")):
        lines = [{"path": f"{i % 12}.png", "y": i % different} for i in range(60)]
        assert opened(table(folder, lines)).task.kind == kind
    assert opened(table(folder, lines), kind="classes").task.n_outputs == 21


def test_a_decimal_point_makes_numbers(folder: Path) -> None:
    target = opened(table(folder, rows(lambda i: i % 3 + 0.5)))
    assert target.task.kind == "numbers"
    assert target.labels[:3, 0].tolist() == [0.5, 1.5, 2.5]
    assert target.output_names == ("label",)


@pytest.mark.parametrize(
    "cells",
    [("red|round", "red", "round"), ("red; round", "red", "round"),
     ('["red", "round"]', '["red"]', '["round"]')],
)  # fmt: skip
def test_cells_of_several_words_are_labels(folder: Path, cells: Sequence[str]) -> None:
    lines = rows(lambda i: cells[i % 3])
    target = opened(table(folder, lines, "t.tsv"))
    assert target.task.kind == "labels"
    assert target.output_names == ("red", "round")
    assert target.labels[:3].tolist() == [[True, True], [True, False], [False, True]]


def test_lists_of_json_lines_are_labels_and_an_empty_one_is_none(folder: Path) -> None:
    lines = rows(lambda i: [["red", "round"], ["red"], []][i % 3])
    target = opened(table(folder, lines, "t.jsonl"))
    assert target.labels[:3].tolist() == [[True, True], [True, False], [False, False]]


def test_a_kind_that_is_named_goes_before_how_the_cells_look(folder: Path) -> None:
    file = table(folder, rows(lambda i: ("a|b", "c")[i % 2]))
    assert opened(file, kind="classes").output_names == ("a|b", "c")
    file = table(folder, rows(lambda i: i % 3))
    assert opened(file, kind="numbers").labels.dtype == np.float64


def test_several_columns_are_labels_of_0_and_1_or_several_numbers(folder: Path) -> None:
    lines = rows(lambda i: i % 2, wet=lambda i: int(i % 3 == 0), age=lambda i: 20 + i)
    file = table(folder, lines)
    labels = opened(file, label=["label", "wet"])
    assert (labels.task.kind, labels.output_names) == ("labels", ("label", "wet"))
    assert labels.labels[:2].tolist() == [[False, True], [True, False]]
    numbers = opened(file, label=["age", "wet"])
    assert (numbers.task.kind, numbers.labels[1].tolist()) == ("numbers", [21.0, 0.0])


def test_columns_with_a_single_1_in_each_row_can_be_classes(folder: Path) -> None:
    lines = rows(
        lambda i: int(i % 3 == 0), b=lambda i: int(i % 3 == 1), c=lambda i: int(i % 3 == 2)
    )
    file, columns = table(folder, lines), ["label", "b", "c"]
    assert "each image has exactly one" in opened(file, label=columns).said[-1]
    target = opened(file, label=columns, kind="classes")
    assert [target.truth_of(i) for i in range(3)] == columns
    ((value, _, _),) = refused(file, label=["label", "b"], kind="classes")
    assert value == "target.kind=classes of 2 columns (rows 3, 6, 9, 12)"


# ---------------------------------------------------------------------- what is refused
def test_cells_without_an_answer_are_refused_with_their_rows(folder: Path) -> None:
    file = table(folder, rows(lambda i: "" if i in (2, 5) else "ab"[i % 2]))
    ((value, _, mend),) = refused(file)
    assert value == "target.label=label: 2 of 12 cells are empty (rows 3, 6)"
    assert "target.kind=labels" in mend
    assert opened(file, kind="labels").labels[2].tolist() == [False, False]


@pytest.mark.parametrize(
    ("label", "kind", "value"),
    [
        (lambda i: "a", None, "target.label=label is the same for all images (a)"),
        (lambda i: 1.5, None, "target.label=label is the same for all images (1.5)"),
        (lambda i: "abc"[min(i, 2) if i else 2], None, "of which one image has class b"),
        (lambda i: "a|b" if i % 2 else "a", None, "label a is the same for all images"),
        (lambda i: ("1.5", "inf", "nan")[i % 3], None, "label: 'inf' in rows 2, 3, 5, 6, 8, and"),
        (lambda i: "12a"[i % 3], "numbers", "label: 'a' in rows 3, 6, 9, 12"),
        (lambda i: ("[1", "[2]")[i % 2], None, "no list in rows 1, 3, 5, 7, 9, and 1 more"),
    ],
)
def test_answers_that_cannot_be_learned_are_refused(
    folder: Path, label: Callable[[int], object], kind: str | None, value: str
) -> None:
    ((found, _, _),) = refused(table(folder, rows(label)), kind=kind)
    assert value in found


def test_answers_that_train_lacks_are_refused_by_name(folder: Path) -> None:
    part = {"split": lambda i: ("train", "valid", "test")[i // 4]}
    file = table(folder, rows(lambda i: "abcd"[i // 4 * (i % 2)], **part))
    assert [value for value, _, _ in refused(file)] == [
        "target.label=label: class b is in select and not in train",
        "target.label=label: class c is in report and not in train",
    ]
    file = table(folder, rows(lambda i: ("a", "b", "a|c")[i % 2 + (i > 9)], **part))
    ((value, _, _),) = refused(file)
    assert value == "target.label=label: label c is in report and not in train"


def test_splits_have_their_usual_names_in_any_case(folder: Path) -> None:
    words = ["Train", "TRAINING", "dev", "Valid", "testing", "test"]
    target = opened(table(folder, rows(lambda i: i // 6, split=lambda i: words[i % 6])))
    assert {split: ids.tolist() for split, ids in target.given.items()} == {
        Split.FIT: [0, 1, 6, 7], Split.SELECT: [2, 3, 8, 9], Split.REPORT: [4, 5, 10, 11],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (("train", ""), "target.split=split: 6 of 12 rows have no split"),
        (("train", "holdout"), "target.split=split with holdout"),
        (("val", "test"), "target.split=split with test, val, and no train"),
    ],
)
def test_splits_that_cannot_be_used_are_refused(
    folder: Path, words: tuple[str, str], value: str
) -> None:
    file = table(folder, rows(lambda i: i // 6, split=lambda i: words[i % 2]))
    ((found, _, _),) = refused(file)
    assert found == value
    assert opened(file, split="none").given == {}


def test_rows_without_a_group_are_refused_with_their_number(folder: Path) -> None:
    file = table(folder, rows(lambda i: i % 2, patient=lambda i: "" if i < 2 else i))
    ((value, _, mend),) = refused(file)
    assert value == "target.group=patient: 2 of 12 rows have no group"
    assert "target.group=none" in mend


def test_all_faults_of_a_table_are_told_at_once(folder: Path) -> None:
    lines = rows(lambda i: "", n=13, group=lambda i: "", split=lambda i: "x")
    assert len(refused(table(folder, lines), ram_gb=0)) == 5


# ---------------------------------------------------------------------- through the question
def question_of(settings: Settings) -> Question:
    return open_question(settings.opening)


def test_a_patients_images_stay_together_in_a_study_and_it_is_said(
    folder: Path, settings: Callable[..., Settings]
) -> None:
    draw = np.random.default_rng(0)
    for i in range(80):
        pixels = draw.integers(0, 255, (9, 9, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    lines = rows(lambda i: "ab"[i // 4 % 2], n=80, patient=lambda i: f"p{i // 4}")
    target = ("target=manifest", f"target.file={table(folder, lines)}", "target.fit_size=40")
    question = question_of(settings(*target))
    parts = question.partition
    for ids in (*parts.folds, parts.report):
        assert all(np.isin(np.arange(i - i % 4, i - i % 4 + 4), ids).all() for i in ids)
    assert len(parts.pool) == 40
    assert any(said.startswith("20 groups (patient) are kept whole") for said in question.said())


def test_a_given_split_that_parts_a_patient_is_refused_by_its_name(
    folder: Path, settings: Callable[..., Settings]
) -> None:
    lines = rows(
        lambda i: i % 2, patient=lambda i: f"p{i // 3}", set=lambda i: "train" if i < 7 else "test"
    )
    target = ("target=manifest", f"target.file={table(folder, lines)}", "target.fit_size=null")
    with pytest.raises(Refusal) as caught:
        question_of(settings(*target))
    assert [fault.value for fault in caught.value.faults] == [
        "group p2 in more than one given split (fit, report)"
    ]


def test_columns_are_named_on_the_command_line(settings: Callable[..., Settings]) -> None:
    of = ("target=manifest", "target.file=my/t.v2.csv", "target.label=[a,b c]", "target.input=7")
    target = settings(*of).target
    assert (target.label, target.input, target.title) == (("a", "b c"), "7", "t.v2")  # type: ignore[attr-defined]
    for written in ("[]", "{a: 1}"):
        with pytest.raises(Refusal, match="column by its name, or a list of columns"):
            settings(*of[:2], f"target.label={written}")
