"""Targets give the images that the source wants to see, and the splits stay apart."""

from __future__ import annotations

import gzip
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from idx_files import idx, write_mnist

from tlsweep.errors import Refusal
from tlsweep.target import Target, check_target, open_target, partition
from tlsweep.target.arrays import ArrayTarget
from tlsweep.target.pixels import fit_arrays, resized
from tlsweep.terms import ImageSpec, Split

GREY = ImageSpec(channels=1, size=16, mean=(0.2,), std=(0.5,), resize=16)
COLOUR = ImageSpec(channels=3, size=24, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), resize=28)


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A small CIFAR-10 under ``root``, with torchvision's checksums replaced by its own."""
    from torchvision.datasets import CIFAR10

    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rows = np.random.default_rng(0).integers(0, 256, (60, 3072), dtype=np.uint8)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    sums = {}
    for i, name in enumerate(names):
        batch = {"data": rows[i * 10 : i * 10 + 10], "labels": list(range(10))}
        (folder / name).write_bytes(pickle.dumps(batch))
    meta = {"label_names": [f"class {i}" for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))
    for file in folder.iterdir():
        sums[file.name] = hashlib.md5(file.read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    return rows


@pytest.fixture(scope="module")
def digits() -> Target:
    return open_target("digits")


def test_digits_are_there_without_a_download(digits: Target) -> None:
    assert len(digits.labels) == 1797
    assert digits.output_names == tuple("0123456789")
    assert digits.given == {}


def test_images_that_do_not_fit_into_memory_are_the_same(digits: Target) -> None:
    small = open_target("digits", ram_gb=1e-9).dataset(np.arange(40), COLOUR)
    big = digits.dataset(np.arange(40), COLOUR)
    assert (small.in_memory, big.in_memory) == (False, True)
    assert torch.equal(small.tensors()[0], big.tensors()[0])
    assert torch.equal(small[7][0], big[7][0])


def test_splits_opened_one_after_another_do_not_disturb_each_other(digits: Target) -> None:
    first = digits.dataset([1, 2, 3], GREY)
    before = first.tensors()[0]
    digits.dataset([3, 900, 2, 7], GREY)
    assert torch.equal(first.tensors()[0], before)
    fresh = open_target("digits").dataset([7, 900], GREY).tensors()[0]
    assert torch.equal(digits.dataset([7, 900], GREY).tensors()[0], fresh)


def test_normalising_is_undone_by_mean_and_deviation() -> None:
    images = np.array([[[0, 255], [51, 102]]] * 4, dtype=np.uint8)
    target = ArrayTarget("t", ("a", "b"), images, np.array([0, 1, 0, 1]))
    x_nchw, _, _ = target.dataset([0], ImageSpec(1, 2, (0.25,), (0.5,), 2)).tensors()
    expected = torch.tensor([[0.0, 1.0], [0.2, 0.4]])
    assert torch.allclose(x_nchw[0, 0] * 0.5 + 0.25, expected)


def test_a_source_of_the_same_size_sees_the_pixels_themselves() -> None:
    u8_nchw = torch.randint(0, 256, (3, 3, 20, 20), dtype=torch.uint8)
    assert torch.equal(fit_arrays(u8_nchw, ImageSpec(3, 20, (0,) * 3, (1,) * 3, 20)), u8_nchw)


def test_the_crop_is_the_middle() -> None:
    u8_nchw = torch.zeros(1, 1, 10, 20, dtype=torch.uint8)
    u8_nchw[0, 0, :, 6:14] = 200
    out = fit_arrays(u8_nchw, ImageSpec(1, 8, (0,), (1,), 10))
    assert torch.equal(out, torch.full((1, 1, 8, 8), 200, dtype=torch.uint8))


def test_grey_becomes_three_equal_channels_and_colour_its_brightness() -> None:
    grey = torch.randint(0, 256, (1, 1, 8, 8), dtype=torch.uint8)
    rgb = fit_arrays(grey, ImageSpec(3, 8, (0,) * 3, (1,) * 3, 8))
    assert all(torch.equal(rgb[:, channel : channel + 1], grey) for channel in range(3))
    assert torch.equal(fit_arrays(rgb, ImageSpec(1, 8, (0,), (1,), 8)), grey)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 500))
def test_the_shorter_side_is_brought_to_the_size_and_the_other_follows(
    height: int, width: int, shorter: int
) -> None:
    new = resized(height, width, ImageSpec(1, shorter, (0.0,), (1.0,), shorter))
    assert min(new) == shorter
    assert 0 <= max(height, width) * shorter / min(height, width) - max(new) < 1


def test_the_fingerprint_depends_on_images_labels_and_class_names() -> None:
    images, labels = np.zeros((4, 2, 2), np.uint8), np.array([0, 1, 0, 1])
    changed = images.copy()
    changed[3, 1, 1] = 1
    variants = [
        ArrayTarget("t", ("a", "b"), images, labels),
        ArrayTarget("t", ("a", "b"), changed, labels),
        ArrayTarget("t", ("a", "b"), images, labels[::-1]),
        ArrayTarget("t", ("a", "c"), images, labels),
    ]
    assert len({variant.fingerprint for variant in variants}) == 4
    assert ArrayTarget("u", ("a", "b"), images, labels).fingerprint == variants[0].fingerprint


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")]
)
def test_idx_files_are_read_and_their_test_part_is_the_report_split(
    tmp_path: Path, name: str, folder: str
) -> None:
    images = write_mnist(tmp_path, folder)
    target = open_target(name, root=tmp_path)
    assert np.array_equal(target.given[Split.FIT], np.arange(60))
    assert np.array_equal(target.given[Split.REPORT], np.arange(60, 90))
    assert len(target.output_names) == 10
    x_nchw, _, labels = target.dataset([0, 61], ImageSpec(1, 28, (0.0,), (1.0,), 28)).tensors()
    assert torch.equal((x_nchw * 255).round().to(torch.uint8)[1, 0], torch.tensor(images[61]))
    assert labels.tolist() == [0, 1]


def test_cifar_batches_are_read_with_their_channels_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write_cifar10(tmp_path, monkeypatch)
    target = open_target("cifar10", root=tmp_path)
    assert {split: len(ids) for split, ids in target.given.items()} == {
        Split.FIT: 50,
        Split.REPORT: 10,
    }
    x_nchw, _, _ = target.dataset([55], ImageSpec(3, 32, (0.0,) * 3, (1.0,) * 3, 32)).tensors()
    assert np.array_equal((x_nchw * 255).round().numpy().reshape(-1), rows[55])


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
def test_missing_files_are_refused_with_their_names_and_the_folder(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(Refusal) as caught:
        check_target(name, root=tmp_path)
    (fault,) = caught.value.faults
    assert str(tmp_path) in fault.rule
    assert "missing: " in fault.rule
    assert fault.mend.startswith("target.download=true")


@pytest.mark.parametrize("damage", ["cut", "gzipped", "labels"])
def test_damaged_idx_files_are_refused(tmp_path: Path, damage: str) -> None:
    write_mnist(tmp_path)
    raw = tmp_path / "MNIST" / "raw"
    images, labels = raw / "train-images-idx3-ubyte", raw / "train-labels-idx1-ubyte"
    if damage == "cut":
        images.write_bytes(images.read_bytes()[:1000])
    elif damage == "gzipped":
        images.write_bytes(gzip.compress(images.read_bytes()))
    else:
        labels.write_bytes(idx(np.arange(7)))
    with pytest.raises(Refusal, match="delete damaged ones"):
        open_target("mnist", root=tmp_path)


def test_a_corrupt_cifar_batch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar10(tmp_path, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").write_bytes(b"cut")
    with pytest.raises(Refusal, match="data_batch_2"):
        open_target("cifar10", root=tmp_path)


@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_a_download_that_is_not_possible_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # A folder below a file can be made by nobody: the download fails before any network is needed.
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal) as caught:
        open_target(name, root=tmp_path / "file", download=True)
    (fault,) = caught.value.faults
    assert str(tmp_path / "file") in fault.mend


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), fit_size=st.integers(20, 1000))
def test_digits_splits_are_disjoint_whatever_the_seed(
    digits: Target, seed: int, fit_size: int
) -> None:
    parts = partition(
        digits.labels,
        fit_size=fit_size,
        select_fraction=0.2,
        report_fraction=0.2,
        seed=seed,
        given=digits.given,
    )
    together = np.concatenate([parts.pool, parts.report])
    assert len(np.unique(together)) == len(together)
    assert len(parts.pool) == fit_size


def test_no_two_digits_are_the_same_image(digits: Target) -> None:
    assert np.array_equal(digits.same_as, np.arange(len(digits.labels)))


def test_equal_images_of_an_array_are_known_by_the_first_of_them() -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 4, 4), dtype=np.uint8)
    images[3] = images[1]
    images[4] = images[1]
    target = ArrayTarget("a", ("x", "y"), images, np.array([0, 0, 1, 0, 1]))
    assert target.same_as.tolist() == [0, 1, 2, 1, 1]


@pytest.mark.parametrize("ram_gb", [0, -1])
def test_a_memory_limit_that_is_not_positive_is_refused(ram_gb: float) -> None:
    for function in (check_target, open_target):
        with pytest.raises(Refusal, match="more than 0"):
            function("digits", ram_gb=ram_gb)


def test_unknown_targets_and_options_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(Refusal) as caught:
        open_target("fashion-mnist")
    assert caught.value.faults[0].mend == "target=fashion_mnist"
    with pytest.raises(Refusal) as caught:
        check_target("image_folder", rooot="x")
    assert caught.value.faults[0].mend == "target.root=..."
