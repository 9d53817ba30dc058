"""Decoded images that do not fit into memory are kept in files, and are the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tlsweep.target import ImageTarget, open_target
from tlsweep.target.decoded import DecodedFiles, decoded_folder
from tlsweep.terms import ImageSpec

RGB = ImageSpec(channels=3, size=8, mean=(0.0,) * 3, std=(1.0,) * 3, resize=8)
NO_ROOM = 1e-9
ONE = 3 * 8 * 8  # bytes of an image


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLSWEEP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(24):
        file = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (10, 12, 3), np.uint8)
        Image.fromarray(pixels).save(file)
    return tmp_path / "photos"


def opened(photos: Path, disk_gb: float = 1.0, ram_gb: float = NO_ROOM) -> ImageTarget:
    target = open_target("image_folder", root=photos, ram_gb=ram_gb, disk_gb=disk_gb)
    assert isinstance(target, ImageTarget)
    return target


def kept() -> list[Path]:
    return sorted(decoded_folder().glob("*"))


def test_images_are_the_same_from_files_from_memory_and_decoded_each_time(photos: Path) -> None:
    ids = [5, 0, 23, 5]
    targets = [opened(photos), opened(photos), opened(photos, 0), opened(photos, ram_gb=1.0)]
    from_files, again, anew, in_memory = (t.dataset(ids, RGB).tensors().z for t in targets)
    assert len(kept()) == 1
    assert torch.equal(from_files, in_memory)
    assert torch.equal(again, in_memory)
    assert torch.equal(anew, in_memory)


def test_what_is_kept_is_not_decoded_again(photos: Path) -> None:
    z = opened(photos).dataset(range(24), RGB).tensors().z
    target = opened(photos)
    shutil.rmtree(photos)  # nothing is left to decode
    assert torch.equal(target.dataset(range(24), RGB).tensors().z, z)


def test_a_second_request_keeps_only_what_is_new(photos: Path) -> None:
    target = opened(photos)
    first = target.dataset(range(10), RGB)
    second = target.dataset([3, 12, 4, 13], RGB)
    assert sorted(np.load(file).shape[0] for file in kept()) == [2, 10]
    whole = opened(photos, ram_gb=1.0).dataset(range(24), RGB).tensors().z
    assert torch.equal(first.tensors().z, whole[:10])
    assert torch.equal(second.tensors().z, whole[[3, 12, 4, 13]])


def test_another_content_or_another_preparation_is_another_file(photos: Path) -> None:
    opened(photos).dataset([0, 1], RGB)
    opened(photos).dataset([0, 1], ImageSpec(3, 8, (0.0,) * 3, (1.0,) * 3, 9))
    assert len(kept()) == 2
    opened(photos).dataset([0, 1], ImageSpec(3, 8, (0.5,) * 3, (0.2,) * 3, 8))  # scaled later
    assert len(kept()) == 2
    pixels = np.random.default_rng(99).integers(0, 256, (10, 12, 3), np.uint8)
    Image.fromarray(pixels).save(photos / "a" / "0.png")
    target = opened(photos)
    z = target.dataset([0, 1], RGB).tensors().z
    assert len(kept()) == 3
    assert torch.equal(z, opened(photos, 0).dataset([0, 1], RGB).tensors().z)


def of(n: int, budget: int = 2**30) -> DecodedFiles:
    return DecodedFiles([str(i) for i in range(n)], RGB, None, budget / 2**30)


def drawn(ids: np.ndarray) -> Iterator[Tensor]:
    for i in ids:
        yield torch.full((1, 3, 8, 8), int(i), dtype=torch.uint8)


def test_what_was_not_written_whole_is_not_used() -> None:
    def killed(ids: np.ndarray) -> Iterator[Tensor]:
        yield from drawn(ids[:2])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        of(4).fill(np.arange(4), killed)
    assert kept() == []
    assert of(4).fill(np.arange(4), drawn)
    (file,) = kept()
    file.write_bytes(file.read_bytes()[:-1])  # a disk that lost the end
    again = of(4)
    assert again.fill(np.arange(4), drawn)
    found = again.read(np.array([3, 1]))
    assert found is not None
    assert found[:, 0, 0, 0].tolist() == [3, 1]


def test_what_a_killed_process_began_is_taken_away_an_hour_later() -> None:
    decoded_folder().mkdir(parents=True)
    old, new = (decoded_folder() / f".{name}.part" for name in ("old", "new"))
    for file in (old, new):
        file.write_bytes(b"begun")
    os.utime(old, (0, 0))
    of(2).fill(np.arange(2), drawn)
    assert not old.exists()
    assert new.exists()


def test_the_least_recently_used_make_room() -> None:
    room = 5 * ONE + 400  # two files of two images with their headers, and not a third
    for at in (0, 2):
        assert of(8, room).fill(np.arange(at, at + 2), drawn)
        os.utime(max(kept(), key=os.path.getmtime), (1000 + at, 1000 + at))
    assert of(8, room).fill(np.arange(2), drawn)  # used again: the other one goes
    assert of(8, room).fill(np.arange(4, 6), drawn)
    assert len(kept()) == 2
    files = of(8, room)
    assert files.fill(np.arange(2), lambda ids: pytest.fail("decoded again"))


def test_images_that_fit_nowhere_are_decoded_when_they_are_read(photos: Path) -> None:
    assert not of(8, 3 * ONE).fill(np.arange(8), drawn)
    assert kept() == []
    few = opened(photos, disk_gb=3 * ONE / 2**30).dataset(range(24), RGB)
    assert torch.equal(few.tensors().z, opened(photos, 0).dataset(range(24), RGB).tensors().z)


def test_a_file_that_went_away_is_decoded_again(photos: Path) -> None:
    data = opened(photos).dataset(range(24), RGB)
    z = data.tensors().z
    shutil.rmtree(decoded_folder())
    assert torch.equal(data.tensors().z, z)


def test_a_folder_that_cannot_be_written_to_costs_time_alone(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    data = opened(photos).dataset(range(24), RGB)
    assert data.tensors().z.shape == (24, 3, 8, 8)


def test_decoding_tells_how_far_it_is(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlsweep.target.images._AT_ONCE", 10)
    target, told = opened(photos, ram_gb=1.0), []
    target.progress = lambda *so_far: told.append(so_far)
    target.dataset(range(24), RGB)
    assert told == [(n, 24, "decoding images") for n in (10, 20, 24)]
