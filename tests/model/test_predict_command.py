"""``python -m tlsweep predict``: a line for every image that can be read, and no silence."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import Made, Make, probe
from PIL import Image
from warm import Warm

import tlsweep
from tlsweep.commands import predict as command
from tlsweep.errors import Refusal, TlsweepError


@pytest.fixture
def predict(
    probe_folder: Made, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[str, str]]:
    """The sub-command in this process: what it prints, and what it says on stderr."""

    def call(*arguments: str) -> tuple[str, str]:
        capsys.readouterr()
        command.run([f"model={probe_folder.folder}", *arguments], Path())
        return tuple(capsys.readouterr())  # type: ignore[return-value]

    return call


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_files_and_folders_give_a_row_an_image_with_the_models_probabilities(
    predict: Callable[..., tuple[str, str]], probe_folder: Made, images: Path
) -> None:
    single = images / "red ant" / "03.jpg"
    out, err = predict(str(single), str(images / "bee=blue"))
    found = rows(out)
    files = [single, *sorted((images / "bee=blue").iterdir())]
    assert [row["file"] for row in found] == [str(file) for file in files]
    p = tlsweep.load_model(probe_folder.folder).predict(files)
    for row, expected in zip(found, p.tolist(), strict=True):
        given = [float(row["p(bee=blue)"]), float(row["p(red ant)"])]
        assert given == pytest.approx(expected, abs=1e-5)
        assert float(row["probability"]) == max(given)
        assert row["class"] == ("bee=blue", "red ant")[given.index(max(given))]
    assert err == ""


def test_images_in_a_zip_are_answered_where_they_lie_as_in_a_folder(
    predict: Callable[..., tuple[str, str]], images: Path, tmp_path: Path
) -> None:
    file = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", images))
    out, err = predict(str(images))
    inside, said = predict(str(file))
    assert [row["file"] for row in rows(inside)] == [
        str(file / Path(row["file"]).relative_to(images)) for row in rows(out)
    ]
    assert [[*row.values()][1:] for row in rows(inside)] == [
        [*row.values()][1:] for row in rows(out)
    ]
    assert (said, err) == ("", "")
    (single,) = rows(predict(str(file / "red ant" / "03.jpg"))[0])
    assert single in rows(inside)
    assert len(rows(predict(str(file / "red ant"))[0])) == len([*(images / "red ant").iterdir()])
    with pytest.raises(Refusal, match="no such file"):
        predict(str(file / "red ant" / "none.jpg"))


def test_json_and_an_output_file_hold_the_same(
    predict: Callable[..., tuple[str, str]], images: Path, tmp_path: Path
) -> None:
    folder, file = str(images / "red ant"), tmp_path / "out.json"
    out, _ = predict(folder, "format=json")
    assert predict(folder, "format=json", f"output={file}") == ("", "")
    assert json.loads(file.read_text()) == json.loads(out)
    first = json.loads(out)[0]
    assert first["probabilities"].keys() == {"bee=blue", "red ant"}
    assert first["probability"] == max(first["probabilities"].values())


def test_a_corrupt_image_is_named_and_left_out(
    predict: Callable[..., tuple[str, str]], images: Path, tmp_path: Path
) -> None:
    good = tmp_path / "good.jpg"
    shutil.copy(images / "red ant" / "00.jpg", good)
    (tmp_path / "cut.jpg").write_bytes(good.read_bytes()[:300])
    (tmp_path / "empty.png").write_bytes(b"")
    out, err = predict(str(tmp_path))
    assert [row["file"] for row in rows(out)] == [str(good)]
    assert "left out" in err
    assert "cut.jpg" in err
    assert "empty.png: not an image" in err


def test_if_no_image_can_be_read_nothing_is_written_and_it_fails(
    predict: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(TlsweepError, match="none of 1 images"):
        predict(str(tmp_path), f"output={tmp_path / 'out.csv'}")
    assert not (tmp_path / "out.csv").exists()


def test_names_may_hold_an_equals_sign_and_other_strange_characters(
    predict: Callable[..., tuple[str, str]],
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["lr=1.jpg", "format=2.jpg", 'a,"b\nc.jpg']
    for name in names:
        shutil.copy(images / "red ant" / "00.jpg", name)
    out, _ = predict("lr=1.jpg", "./format=2.jpg", names[2])
    assert [row["file"] for row in rows(out)] == ["lr=1.jpg", "format=2.jpg", names[2]]


def test_of_many_classes_the_five_best_are_told(
    asked: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(21):
        (tmp_path / f"images/c{i}").mkdir(parents=True)
        for j in range(6):
            Image.new("RGB", (40, 40), (12 * i, 40 * j, 0)).save(tmp_path / f"images/c{i}/{j}.png")
    target = ("target=image_folder", f"target.root={tmp_path / 'images'}")
    made = probe(asked(*target, "plan=truncate", "plan.keep=1"), tmp_path)
    file = tmp_path / "images/c7/2.png"
    capsys.readouterr()
    command.run([f"model={made.folder}", str(file)], Path())
    (row,) = rows(capsys.readouterr().out)
    p, order = tlsweep.load_model(made.folder).predict([file])[0].sort(descending=True)
    best = [made.question.target.output_names[i] for i in order[:5].tolist()]
    assert [row["class"], *(row[f"class_{i}"] for i in range(2, 6))] == best
    given = [row["probability"], *(row[f"probability_{i}"] for i in range(2, 6))]
    assert [float(value) for value in given] == pytest.approx(p[:5].tolist(), abs=1e-5)
    assert len(row) == 11


BAD = {
    "no model": (("x.jpg",), "predict without model="),
    "not a model": (("model=.", "x.jpg"), "a model folder is one that a sweep wrote"),
    "no images": (("model=.",), "predict without images"),
    "a folder without images": (("model=.", "empty"), "no images in empty"),
    "no such file": (("model=.", "y.jpg"), "mend: x.jpg"),
    "a misspelt option": (("model=.", "fromat=json", "x.jpg"), "mend: format=json"),
    "no zip": (("model=.", "no.zip"), "a file in the place of a folder is a zip of one, whole"),
    "unknown format": (("model=.", "format=cvs", "x.jpg"), "mend: format=csv"),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=list(BAD))
def test_what_cannot_be_done_is_refused(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 9)).save("x.jpg")
    Path("no.zip").write_bytes(b"no zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refusal) as refusal:
        command.run(arguments, Path())
    assert said in str(refusal.value)


@pytest.mark.slow
def test_the_command_exits_with_0_1_and_2(
    probe_folder: Made, images: Path, tmp_path: Path, environment: dict[str, str], python: Warm
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return python(["-m", "tlsweep", "predict", *arguments], environment, tmp_path)

    model, good = f"model={probe_folder.folder}", str(images / "red ant" / "00.jpg")
    some, none, refused = call(model, good, "bad.jpg"), call(model, "bad.jpg"), call("bad.jpg")
    assert [done.returncode for done in (some, none, refused)] == [0, 1, 2]
    assert len(rows(some.stdout)) == 1
    assert "bad.jpg" in some.stderr
    assert none.stdout == refused.stdout == ""
    for done in (some, none, refused):
        assert "Traceback" not in done.stderr
