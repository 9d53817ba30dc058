"""Torchvision's data sets for classification are targets by their names there."""

from __future__ import annotations

import bz2
import json
from pathlib import Path

import numpy as np
import pytest
import torchvision
from idx_files import write_mnist
from PIL import Image
from scipy.io import savemat

from tlsweep.errors import Fault, Refusal
from tlsweep.target import Target, check_target, open_target
from tlsweep.target.published import SETS
from tlsweep.terms import ImageSpec, Split

RGB = ImageSpec(channels=3, size=8, mean=(0.0,) * 3, std=(1.0,) * 3, resize=8)


def opened(name: str, root: Path, **options: object) -> Target:
    return open_target("torchvision", dataset=name, root=root, **options)


def faults(name: str, root: Path, **options: object) -> tuple[Fault, ...]:
    with pytest.raises(Refusal) as caught:
        check_target("torchvision", dataset=name, root=root, **options)
    return caught.value.faults


def photo(file: Path, *seed: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def sizes(target: Target) -> dict[Split, int]:
    return {split: len(rows) for split, rows in target.given.items()}


def test_every_name_is_a_class_of_torchvision() -> None:
    assert all(hasattr(torchvision.datasets, name) for name in SETS)


def test_a_data_set_in_memory_is_what_its_own_target_is(tmp_path: Path) -> None:
    write_mnist(tmp_path, "FashionMNIST")
    one = opened("FashionMNIST", tmp_path, twins="exact")
    own = open_target("fashion_mnist", root=tmp_path)
    assert one.fingerprint == own.fingerprint
    assert (one.name, one.output_names[9]) == ("FashionMNIST", "Ankle boot")
    assert sizes(one) == {Split.FIT: 60, Split.REPORT: 30}


def test_parts_and_classes_are_those_of_the_data_set(tmp_path: Path) -> None:
    """DTD has three parts, each a list of files, and names its classes by their folders."""
    for part, n in (("train", 3), ("val", 1), ("test", 2)):
        lines = [f"{c}/{c}_{part}_{k}.jpg" for c in ("banded", "dotted") for k in range(n)]
        for i, line in enumerate(lines):
            photo(tmp_path / "dtd/dtd/images" / line, n, i)
        labels = tmp_path / "dtd/dtd/labels" / f"{part}1.txt"
        labels.parent.mkdir(exist_ok=True)
        labels.write_text("\n".join(lines) + "\n")
    target = opened("DTD", tmp_path)
    assert sizes(target) == {Split.FIT: 6, Split.SELECT: 2, Split.REPORT: 4}
    assert target.output_names == ("banded", "dotted")
    assert target.labels.tolist() == [0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1, 1]
    assert target.called(6) == "dtd/dtd/images/banded/banded_val_0.jpg"


def food(root: Path) -> list[Path]:
    """Food101's two parts of two classes, five photographs each; the files in their order."""
    files = []
    for part in ("train", "test"):
        listed = {c: [f"{c}/{part}{k}" for k in range(5)] for c in ("pie", "soup")}
        for i, name in enumerate(name for names in listed.values() for name in names):
            files.append(photo(root / "food-101/images" / f"{name}.jpg", part == "test", i))
        meta = root / "food-101/meta" / f"{part}.json"
        meta.parent.mkdir(exist_ok=True)
        meta.write_text(json.dumps(listed))
    return files


def test_files_of_a_data_set_give_what_a_table_of_them_gives(tmp_path: Path) -> None:
    files = food(tmp_path)
    target = opened("Food101", tmp_path)
    lines = [f"{file},{file.parent.name},{file.stem.rstrip('01234')}\n" for file in files]
    (tmp_path / "t.csv").write_text("path,label,split\n" + "".join(lines))
    table = open_target("manifest", file=tmp_path / "t.csv")
    assert np.array_equal(target.labels, table.labels)
    assert sizes(target) == sizes(table) == {Split.FIT: 10, Split.REPORT: 10}
    one, other = (t.dataset(range(20), RGB).tensors().z for t in (target, table))
    assert bool((one == other).all())


def test_a_damaged_file_of_a_data_set_is_named_or_left_out(tmp_path: Path) -> None:
    files = food(tmp_path)
    files[3].write_bytes(b"cut")
    with pytest.raises(Refusal, match=r"1 of 20 images: food-101/images/pie/train3\.jpg"):
        opened("Food101", tmp_path)
    target = opened("Food101", tmp_path, on_error="skip")
    assert sizes(target) == {Split.FIT: 9, Split.REPORT: 10}
    assert target.labels.tolist() == [0] * 4 + [1] * 5 + [0] * 5 + [1] * 5


def test_a_data_set_that_opens_its_images_itself_gives_the_same_pixels(tmp_path: Path) -> None:
    """Of OxfordIIITPet torchvision gives no paths; a label is told there from 1 on."""
    folder = tmp_path / "oxford-iiit-pet"
    for part in ("trainval", "test"):
        lines = []
        for i, name in enumerate(("Abyssinian", "beagle", "beagle")):
            photo(folder / "images" / f"{name}_{part}{i}.jpg", part == "test", i)
            lines.append(f"{name}_{part}{i} {1 + (name == 'beagle')} 1 1\n")
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"{part}.txt").write_text("".join(lines))
    target = opened("OxfordIIITPet", tmp_path)
    assert target.output_names == ("Abyssinian", "Beagle")
    assert target.labels.tolist() == [0, 1, 1] * 2
    assert target.called(0) == "fit 0"
    files = sorted((folder / "images").iterdir())
    lines = [f"{file},{file.name[0]}\n" for file in files]
    (tmp_path / "t.csv").write_text("path,label\n" + "".join(lines))
    table = open_target("manifest", file=tmp_path / "t.csv")
    rows = [
        [file.name for file in files].index(name)
        for name in ("Abyssinian_trainval0.jpg", "beagle_test1.jpg")
    ]
    ours, theirs = target.dataset([0, 4], RGB).tensors().z, table.dataset(rows, RGB).tensors().z
    assert bool((ours == theirs).all())


def test_channels_come_last_and_numbers_name_classes_that_have_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "torchvision.datasets.svhn.check_integrity", lambda file, md5: Path(file).is_file()
    )
    x = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 20), np.uint8)
    y = np.arange(20)[:, None] % 10 + 1  # SVHN writes 10 for the digit 0
    for part in ("train", "test"):
        savemat(tmp_path / f"{part}_32x32.mat", {"X": x, "y": y})
    target = opened("SVHN", tmp_path)
    assert target.output_names == tuple("0123456789")
    assert target.labels[:10].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    spec = ImageSpec(channels=3, size=32, mean=(0.0,) * 3, std=(1.0,) * 3, resize=32)
    z = target.dataset([3], spec).tensors().z[0]
    assert np.array_equal((z * 255).round().numpy(), x[..., 3].transpose(2, 0, 1))


def test_digits_of_the_post_are_read(tmp_path: Path) -> None:
    pixels = " ".join(f"{i + 1}:{(i % 7 - 3) / 3:.2f}" for i in range(256))
    for name, n in (("usps.bz2", 20), ("usps.t.bz2", 10)):
        lines = [f"{k % 10 + 1} {pixels}\n" for k in range(n)]
        (tmp_path / name).write_bytes(bz2.compress("".join(lines).encode()))
    target = opened("USPS", tmp_path)
    assert sizes(target) == {Split.FIT: 20, Split.REPORT: 10}
    assert target.labels[:3].tolist() == [0, 1, 2]


def test_an_unknown_name_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    (fault,) = faults("FashonMNIST", tmp_path)
    assert fault.value == "target.dataset=FashonMNIST"
    assert fault.rule.startswith("a data set is one of: MNIST, FashionMNIST, KMNIST, ")
    assert fault.mend == "target.dataset=FashionMNIST"


def test_missing_files_are_refused_with_where_they_go_and_who_has_them(tmp_path: Path) -> None:
    (tmp_path / "flowers-102" / "jpg").mkdir(parents=True)
    (fault,) = faults("Flowers102", tmp_path)
    assert fault.value == f"target=torchvision target.dataset=Flowers102 target.root={tmp_path}"
    where = tmp_path / "flowers-102"
    assert fault.rule == f"these files are in {where}; missing: imagelabels.mat, setid.mat"
    page = "https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.Flowers102.html"
    assert fault.mend == f"target.download=true, or put the files there, unpacked ({page})"
    check_target("torchvision", dataset="Flowers102", root=tmp_path, download=True)


def test_what_torchvision_cannot_fetch_is_not_offered_to_be_fetched(tmp_path: Path) -> None:
    (fault,) = faults("StanfordCars", tmp_path, download=True)
    assert fault.mend.startswith("put the files there, unpacked (https://")
    (fault,) = faults("FER2013", tmp_path)
    assert fault.rule.endswith("missing: fer2013.csv or icml_face_data.csv")
