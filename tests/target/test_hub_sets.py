"""Data sets of Hugging Face's library are read from folders and from its cache, never by code."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlsweep.errors import Fault, Refusal
from tlsweep.target import Target, check_target, open_target
from tlsweep.target.files import FileTarget
from tlsweep.target.texts import TextTarget
from tlsweep.terms import ImageSpec, Split

datasets = pytest.importorskip("datasets")
RGB = ImageSpec(channels=3, size=8, mean=(0.0,) * 3, std=(1.0,) * 3, resize=8)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def picture(*seed: int) -> Any:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (10, 12, 3), np.uint8))


def photos(seed: int, n: int, labels: list[int] | None = None) -> Any:
    kinds = datasets.ClassLabel(names=["dog", "cat"])
    return datasets.Dataset.from_dict(
        {
            "image": [picture(seed, i) for i in range(n)],
            "label": labels or [i % 2 for i in range(n)],
        },
        features=datasets.Features({"image": datasets.Image(), "label": kinds}),
    )


def texts(words: list[str], labels: list[int]) -> Any:
    kinds = datasets.ClassLabel(names=["bad", "good"])
    return datasets.Dataset.from_dict(
        {"idx": [*range(len(words))], "sentence": words, "label": labels},
        features=datasets.Features(
            {"idx": datasets.Value("int32"), "sentence": datasets.Value("string"), "label": kinds}
        ),
    )


REVIEWS = (["dull", "a bore", "fine", "lovely", "poor", "bright"], [0, 0, 1, 1, 0, 1])


def opened(folder: Path | str, **options: object) -> Target:
    return open_target("hf", dataset=str(folder), **options)


def faults(folder: Path | str, **options: object) -> tuple[Fault, ...]:
    with pytest.raises(Refusal) as caught:
        check_target("hf", dataset=str(folder), **options)
    return caught.value.faults


def sizes(target: Target) -> dict[Split, int]:
    return {split: len(rows) for split, rows in target.given.items()}


def test_images_with_classes_and_splits_are_read_from_what_save_to_disk_wrote(
    tmp_path: Path,
) -> None:
    parts = {"train": photos(0, 8), "validation": photos(1, 4), "test": photos(2, 6)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "pets")
    target = opened(tmp_path / "pets")
    assert isinstance(target, FileTarget)
    assert (target.name, target.output_names) == ("pets", ("cat", "dog"))
    assert sizes(target) == {Split.FIT: 8, Split.SELECT: 4, Split.REPORT: 6}
    assert target.labels[:3].tolist() == [1, 0, 1]
    assert target.called(9) == "validation 1"
    spec = ImageSpec(channels=3, size=10, mean=(0.0,) * 3, std=(1.0,) * 3, resize=10)
    pixels = (target.dataset([9], spec).tensors().z[0] * 255).round().numpy()
    assert np.array_equal(pixels, np.asarray(picture(1, 1))[:, 1:11].transpose(2, 0, 1))
    named = "columns were found by their names: target.input=image target.label=label"
    assert target.said[0] == named


def test_a_folder_of_parquet_gives_what_a_folder_of_files_gives(tmp_path: Path) -> None:
    """The same bytes: a file of a class folder, and a cell of a table."""
    rows: list[dict[str, Any]] = []
    for name in ("cat", "dog"):
        for i in range(4):
            file = tmp_path / "files" / name / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(name == "dog", i).save(file)
            rows.append({"img": {"bytes": file.read_bytes(), "path": None}, "animal": name})
    features = {"img": datasets.Image(), "animal": datasets.Value("string")}
    table = datasets.Dataset.from_list(rows, features=datasets.Features(features))
    (tmp_path / "tables").mkdir()
    table.to_parquet(tmp_path / "tables" / "train.parquet")
    target = opened(tmp_path / "tables", label="animal")
    files = open_target("image_folder", root=tmp_path / "files")
    assert target.given == {}
    assert target.output_names == files.output_names
    assert np.array_equal(target.labels, files.labels)
    one, other = (t.dataset(range(8), RGB).tensors().z for t in (target, files))
    assert bool((one == other).all())


def test_a_damaged_image_is_named_or_left_out(tmp_path: Path) -> None:
    to = io.BytesIO()
    picture(0).save(to, "PNG")
    cells = [{"bytes": to.getvalue() + bytes([i]), "path": None} for i in range(6)]
    cells[2] = {"bytes": b"cut", "path": None}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    table = datasets.Dataset.from_dict({"image": cells, "label": [*"ababab"]}, features=features)
    table.save_to_disk(tmp_path / "pets")
    with pytest.raises(Refusal, match="1 of 6 images: train 2 "):
        opened(tmp_path / "pets")
    target = opened(tmp_path / "pets", on_error="skip", twins="exact")
    assert target.labels.tolist() == [0, 1, 1, 0, 1]


def test_texts_are_read_and_a_split_without_labels_is_left_out_and_told(tmp_path: Path) -> None:
    """GLUE's test splits say -1 in place of each label."""
    parts = {"train": texts(*REVIEWS), "test": texts(["so", "so so"], [-1, -1]),
             "unsupervised": texts(["who knows"], [0])}  # fmt: skip
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "reviews")
    target = opened(tmp_path / "reviews")
    assert isinstance(target, TextTarget)
    assert target.texts == tuple(REVIEWS[0])
    assert target.output_names == ("bad", "good")
    assert target.labels.tolist() == REVIEWS[1]
    assert target.given == {}
    assert target.said[:2] == (
        "split unsupervised is left out with its 1 rows: none of train, validation, test",
        "split test is left out: it has no labels",
    )


def test_a_list_of_classes_is_several_labels(tmp_path: Path) -> None:
    kinds = datasets.Features({"text": datasets.Value("string"), "labels": datasets.List(
        datasets.ClassLabel(names=["war", "art", "sport"]))})  # fmt: skip
    lists = [[0], [1, 2], [], [2], [0, 1], [1]]
    table = datasets.Dataset.from_dict({"text": REVIEWS[0], "labels": lists}, features=kinds)
    table.save_to_disk(tmp_path / "news")
    target = opened(tmp_path / "news", kind="labels")
    assert target.output_names == ("art", "sport", "war")
    assert target.labels[1].tolist() == [True, True, False]


def test_a_name_is_had_from_the_cache_without_a_network(tmp_path: Path) -> None:
    (tmp_path / "made" / "reviews").mkdir(parents=True)
    texts(*REVIEWS).to_parquet(tmp_path / "made" / "reviews" / "train.parquet")
    datasets.load_dataset(str(tmp_path / "made" / "reviews"))
    target = opened("reviews")
    assert (target.name, len(target.labels)) == ("reviews", 6)
    assert datasets.config.HF_HUB_OFFLINE is False


def test_a_name_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    (fault,) = faults("nobody/nothing")
    assert fault.value.startswith("target.dataset=nobody/nothing (ConnectionError: ")
    assert (
        fault.rule == "a name that the cache of datasets has, of a data set without code of its own"
    )
    assert fault.mend.startswith("target.download=true fetches it; a folder: target.dataset=FOLDER")


def test_a_script_of_a_data_set_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (fault,) = faults(folder)
    assert not (tmp_path / "ran").exists()
    assert (
        fault.rule
        == "a folder that save_to_disk wrote, or one of tables: train.parquet, test.parquet"
    )


def test_an_unknown_column_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    texts(*REVIEWS).save_to_disk(tmp_path / "reviews")
    (fault,) = faults(tmp_path / "reviews", input="sentense")
    assert fault.rule == "a column is one of: idx, sentence, label"
    assert fault.mend == "target.input=sentence"
    (fault,) = faults(tmp_path / "reviews", input="idx")
    assert fault.value == "target.input=idx holds Value('int32')"
    assert "sentence (Value)" in fault.rule
    renamed = texts(*REVIEWS).rename_column("label", "stars")
    renamed.save_to_disk(tmp_path / "stars")
    (fault,) = faults(tmp_path / "stars")
    assert fault.value == f"target.dataset={tmp_path / 'stars'}: which column has the answers?"
    assert fault.mend == "target.label=COLUMN"


def test_splits_without_train_are_refused(tmp_path: Path) -> None:
    parts = {"test": texts(*REVIEWS), "validation": texts(*REVIEWS)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "reviews")
    (fault,) = faults(tmp_path / "reviews")
    assert fault.value.endswith("with the splits test, validation, and no train")


def test_without_the_package_what_to_install_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    (fault,) = faults("reviews")
    assert fault.mend == "pip install 'tlsweep[datasets]'"
