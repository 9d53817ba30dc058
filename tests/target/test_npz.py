"""Arrays of a NumPy file: found by their names, brought to bytes, or refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tlsweep.errors import Refusal
from tlsweep.target import check_target, open_target
from tlsweep.target.arrays import ArrayTarget
from tlsweep.terms import ImageSpec, Split

GREY = ImageSpec(channels=1, size=6, mean=(0.0,), std=(1.0,), resize=6)
RGB = ImageSpec(channels=3, size=6, mean=(0.0,) * 3, std=(1.0,) * 3, resize=6)
Y = np.arange(12) % 3


def drawn(n: int = 12, shape: tuple[int, ...] = (6, 6)) -> NDArray[np.uint8]:
    images = np.random.default_rng(n).integers(0, 256, (n, *shape), dtype=np.uint8)
    images.flat[:2] = (0, 255)
    return images


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def opened(file: Path, **options: object) -> Any:
    return open_target("arrays", file=file, **options)


def pixels(file: Path, spec: ImageSpec = GREY, **options: object) -> NDArray[np.float32]:
    target = opened(file, **options)
    z = target.dataset(range(len(target.labels)), spec).tensors().z
    found: NDArray[np.float32] = (z * 255).round().numpy()
    return found


def refused(file: Path, **options: object) -> list[tuple[str, str, str]]:
    with pytest.raises(Refusal) as caught:
        opened(file, **options)
    return [(fault.value, fault.rule, fault.mend) for fault in caught.value.faults]


# ---------------------------------------------------------------------- names
@pytest.mark.parametrize(
    ("images", "labels"), [("images", "labels"), ("x", "y"), ("X", "y"), ("data", "target")]
)
def test_arrays_of_usual_names_are_found_and_it_is_said(
    tmp_path: Path, images: str, labels: str
) -> None:
    target = opened(saved(tmp_path, **{labels: Y, images: drawn()}))
    assert (target.name, target.given) == ("a", {})
    assert target.labels.tolist() == Y.tolist()
    assert target.said == (
        f"images and answers were found by the names of their arrays: {images}, {labels}",
        f"answers ({labels}) are taken as classes: 3 different whole numbers; target.kind= names"
        " another kind",
    )


@pytest.mark.parametrize("style", ["{part}_images {part}_labels", "x_{part} y_{part}"])
def test_parts_as_medmnist_and_keras_name_them_are_given_splits(tmp_path: Path, style: str) -> None:
    arrays = {}
    for part, n in (("test", 3), ("train", 6), ("val", 4)):
        x, y = style.format(part=part).split()
        arrays |= {x: drawn(n), y: np.arange(n)[:, None] % 3}  # MedMNIST's labels are [n, 1]
    file = saved(tmp_path, **arrays)
    target = opened(file)
    assert {split: ids.tolist() for split, ids in target.given.items()} == {
        Split.FIT: [*range(6)], Split.SELECT: [*range(6, 10)], Split.REPORT: [*range(10, 13)],
    }  # fmt: skip
    assert target.labels.tolist() == [0, 1, 2] * 2 + [0, 1, 2, 0] + [0, 1, 2]
    assert np.array_equal(pixels(file)[10:, 0], drawn(3))


def test_keys_are_named_alone_or_by_what_those_of_parts_have_in_common(tmp_path: Path) -> None:
    parts = {
        "train_scan": drawn(9),
        "train_grade": Y[:9],
        "scan_test": drawn(3),
        "grade_test": Y[:3],
    }
    file = saved(tmp_path, **parts)
    target = opened(file, input="scan", label="grade", kind="classes")
    assert (target.given[Split.REPORT].tolist(), target.said) == ([9, 10, 11], ())
    one = opened(file, input="train_scan", label="train_grade")
    assert (len(one.labels), one.given) == (9, {})


def test_an_unknown_key_and_keys_without_a_usual_name_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, scans=drawn(), grade=Y)
    ((value, rule, mend),) = refused(file, input="scan", label="grade")
    assert (value, mend) == ("target.input=scan", "target.input=scans")
    assert rule == "a key is one of: scans, grade"
    ((value, rule, mend),) = refused(file)
    assert "which array holds the images?" in value
    assert rule.endswith("here there are: scans, grade")
    assert mend == "target.input=KEY"


# ---------------------------------------------------------------------- images
def test_colours_may_be_last_or_first(tmp_path: Path) -> None:
    last = drawn(shape=(6, 6, 3))
    seen = [pixels(saved(tmp_path, x=x, y=Y), RGB) for x in (last, last.transpose(0, 3, 1, 2))]
    assert np.array_equal(seen[0], last.transpose(0, 3, 1, 2))
    assert np.array_equal(seen[0], seen[1])


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (drawn().astype(np.float32) / 255, "type float32, from 0 to 1,"),
        (drawn().astype(np.float64) / 127.5 - 1, "type float64, from -1 to 1,"),
        (drawn().astype(np.uint16) * 257, "type uint16, from 0 to 65535,"),
        (drawn().astype(np.int16) - 100, "type int16, from -100 to 155,"),
    ],
)
def test_other_types_are_scaled_by_the_range_of_all_images(
    tmp_path: Path, x: Any, said: str
) -> None:
    file = saved(tmp_path, x=x, y=Y)
    assert np.array_equal(pixels(file)[:, 0], drawn())
    assert opened(file).said[1] == f"pixels of {said} are scaled to 0 to 255"


def test_the_range_is_that_of_all_parts(tmp_path: Path) -> None:
    file = saved(
        tmp_path, x_train=drawn(6) / 255, y_train=Y[:6], x_test=drawn(6) / 510, y_test=Y[:6]
    )
    assert np.abs(pixels(file)[6:, 0] - drawn(6) / 2).max() <= 0.5


@pytest.mark.parametrize(
    ("arrays", "value"),
    [
        ({"x": np.full((12, 6, 6), 7, np.uint8)}, "all pixels are 7"),
        (
            {"x": np.where(np.arange(12)[:, None, None] < 2, np.nan, drawn())},
            "2 images with pixels",
        ),
        ({"x": drawn().reshape(12, 36)}, "x is uint8 [12, 36]"),
        ({"x": drawn(shape=(6, 6, 4))}, "x is uint8 [12, 6, 6, 4]"),
        ({"x": drawn().astype(str)}, "x is <U3 [12, 6, 6]"),
        ({"x": drawn(11)}, "11 images in x, answers [12]"),
        ({"x": drawn(), "y": drawn()}, "12 images in x, answers [12, 6, 6]"),
        ({"x": drawn(), "y": np.array([None] * 12)}, "Object arrays cannot be loaded"),
        ({"x": drawn(), "y": Y * 1j}, "y is complex128"),
    ],
)
def test_arrays_that_are_no_images_or_no_answers_are_refused(
    tmp_path: Path, arrays: dict[str, Any], value: str
) -> None:
    ((found, _, _),) = refused(saved(tmp_path, **{"y": Y, **arrays}))
    assert value in found


def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    train = {"x_train": drawn(), "y_train": Y}
    other = saved(tmp_path, **train, x_test=drawn(3, (5, 6)), y_test=Y[:3])
    assert "x_train uint8 [12, 6, 6], x_test uint8 [3, 5, 6]" in refused(other)[0][0]
    unanswered = saved(tmp_path, **train, x_test=drawn(3))
    assert "images in x_train, x_test, answers in y_train" in refused(unanswered)[0][0]
    untrained = saved(tmp_path, x_test=drawn(), y_test=Y)
    assert "beside val or test there is train" in refused(untrained)[0][1]


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    ((_, rule, _),) = refused(tmp_path / "a.npz")
    assert rule.startswith("a .npz file of numbers or text")


def test_a_file_that_is_not_there_is_refused_with_the_nearest_beside_it(tmp_path: Path) -> None:
    file = saved(tmp_path, x=drawn(), y=Y)
    with pytest.raises(Refusal) as caught:
        check_target("arrays", file=tmp_path / "aa.npz")
    assert caught.value.faults[0].mend == f"target.file={file}"


# ---------------------------------------------------------------------- answers
@pytest.mark.parametrize(
    ("y", "kind", "outputs"),
    [
        (Y, "classes", 3),
        (np.array(["ant", "bee"])[Y % 2], "classes", 2),
        (np.array([b"ant", b"bee"])[Y % 2], "classes", 2),
        (Y % 2 == 0, "classes", 2),
        (Y / 4, "numbers", 1),
        (np.stack([Y, Y + 0.5], 1), "numbers", 2),
        (np.stack([Y % 2, Y // 2], 1), "labels", 2),
        (np.stack([Y % 2 == 0, Y > 1], 1), "labels", 2),
    ],
)
def test_the_type_and_the_shape_of_answers_tell_their_kind(
    tmp_path: Path, y: Any, kind: str, outputs: int
) -> None:
    target = opened(saved(tmp_path, x=drawn(), y=y))
    assert (target.task.kind, target.task.n_outputs) == (kind, outputs)
    back = np.array(target.output_names)[target.labels] if kind == "classes" else target.labels
    wanted = y.astype(int) if y.dtype == bool and kind == "classes" else y
    wanted = wanted.astype(str) if kind == "classes" else wanted.reshape(12, -1)
    assert np.array_equal(back, wanted)


def test_a_hundred_classes_are_named_where_they_look_like_numbers(tmp_path: Path) -> None:
    file = saved(tmp_path, x=drawn(100), y=np.arange(100) % 50)
    assert opened(file).task.kind == "numbers"
    assert opened(file, kind="classes").task.n_outputs == 50


def test_answers_that_train_lacks_are_refused_by_name(tmp_path: Path) -> None:
    file = saved(tmp_path, x_train=drawn(), y_train=Y % 2, x_test=drawn(4), y_test=Y[:4])
    assert refused(file)[0][0].startswith("target.label=y_train, of which one image has class 2")
    assert refused(file)[1][0] == "target.label=y_train: class 2 is in report and not in train"


@pytest.mark.real
def test_real_files_open_as_they_were_published() -> None:
    default = Path(__file__).parents[2] / ".." / "shared" / "data"
    data = Path(os.environ.get("TLSWEEP_REAL_DATA", default))
    file = data / "pneumoniamnist" / "pneumoniamnist.npz"
    if not file.is_file():
        pytest.skip(f"no real data at {file} (TLSWEEP_REAL_DATA)")
    target = opened(file)
    sizes = {split: len(ids) for split, ids in target.given.items()}
    assert sizes == {Split.FIT: 4708, Split.SELECT: 524, Split.REPORT: 624}
    assert target.task.told == "2 classes"


def test_other_splits_of_the_same_images_are_another_target() -> None:
    """Else a study would go on with other folds than it was begun with."""
    images = np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8)
    prints = set()
    for cut in (3, 4, None):
        rows = np.arange(6)
        given = None if cut is None else {Split.FIT: rows[:cut], Split.REPORT: rows[cut:]}
        made = ArrayTarget("a", ("x", "y"), images, np.arange(6) % 2, given)
        prints.add(made.fingerprint)
    assert len(prints) == 3
