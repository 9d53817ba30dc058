"""Folders of images are read as a viewer shows them, and every fault is named before training."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tlsweep.errors import Refusal
from tlsweep.target import check_target, open_target, partition
from tlsweep.terms import ImageSpec, Split

RGB = ImageSpec(channels=3, size=8, mean=(0.0,) * 3, std=(1.0,) * 3, resize=8)
GREY = ImageSpec(channels=1, size=8, mean=(0.0,), std=(1.0,), resize=8)


def write(file: Path, colour: object = (200, 30, 90), mode: str = "RGB") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (12, 10), colour).save(file)  # type: ignore[arg-type]
    return file


def noise(file: Path, *seed: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def fill(folder: Path, classes: str = "ab", n: int = 4) -> Path:
    for i, name in enumerate(classes):
        for k in range(n):
            noise(folder / name / f"{k}.png", i, k)
    return folder


def refused(root: Path, **options: object) -> list[tuple[str, str, str]]:
    with pytest.raises(Refusal) as caught:
        open_target("image_folder", root=root, **options)
    return [(fault.value, fault.rule, fault.mend) for fault in caught.value.faults]


def test_class_folders_without_parts_are_all_to_be_partitioned(tmp_path: Path) -> None:
    target = open_target("image_folder", root=fill(tmp_path / "things", "ba"))
    assert target.name == "things"
    assert target.output_names == ("a", "b")
    assert target.labels.tolist() == [0] * 4 + [1] * 4
    assert target.given == {}


def test_train_val_and_test_folders_are_given_splits(tmp_path: Path) -> None:
    for part, n in (("train", 4), ("val", 2), ("test", 3)):
        fill(tmp_path / part, n=n)
    target = open_target("image_folder", root=tmp_path)
    assert {split: len(ids) for split, ids in target.given.items()} == {
        Split.FIT: 8,
        Split.SELECT: 4,
        Split.REPORT: 6,
    }
    parts = partition(
        target.labels,
        fit_size=2,
        select_fraction=0.2,
        report_fraction=0.2,
        seed=0,
        given=target.given,
    )
    assert np.array_equal(parts.report, target.given[Split.REPORT])


def test_files_of_one_content_are_known_wherever_they_lie(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    for copy in ("train/b/copy.png", "test/a/copy.png"):
        (tmp_path / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "train" / "a" / "1.png", tmp_path / copy)
    target = open_target("image_folder", root=tmp_path)
    called = {target.called(i): i for i in range(len(target.labels))}
    first = called["train/a/1.png"]
    assert {name for name, i in called.items() if target.same_as[i] == first} == {
        "train/a/1.png", "train/b/copy.png", "test/a/copy.png",
    }  # fmt: skip
    others = [i for i in called.values() if target.same_as[i] != first]
    assert target.same_as[others].tolist() == others


@pytest.mark.parametrize(
    "name", ["x.JPG", "x.Jpeg", "x.PNG", "x.bmp", "x.webp", "x.gif", "x.tif", "x.TIFF"]
)
def test_the_usual_endings_count_in_any_case(tmp_path: Path, name: str) -> None:
    fill(tmp_path)
    write(tmp_path / "a" / name)
    assert len(open_target("image_folder", root=tmp_path).labels) == 9


def test_other_files_hidden_files_and_tool_folders_do_not_count(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "a" / "._0.png").write_bytes(b"what macOS leaves")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / ".ipynb_checkpoints").mkdir()
    assert len(open_target("image_folder", root=tmp_path).labels) == 8


def test_images_in_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    fill(tmp_path)
    write(tmp_path / "b" / "more" / "deep.png")
    assert np.bincount(open_target("image_folder", root=tmp_path).labels).tolist() == [4, 5]


def first_pixel(tmp_path: Path, file: Path, image: ImageSpec = RGB) -> list[float]:
    """The image's pixels if they are all alike, read beside a second class."""
    write(tmp_path / "z" / "other.png")
    target = open_target("image_folder", root=tmp_path)
    assert file.parent.name == "a"
    x_chw, _, _ = target.dataset([0], image)[0]
    assert torch.all((x_chw - x_chw[:, :1, :1]).abs() < 0.02)
    return (x_chw[:, 0, 0] * 255).round().tolist()


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    file = tmp_path / "a" / "x.png"
    file.parent.mkdir()
    Image.new("RGB", (12, 10), (200, 30, 90)).quantize(4).save(file)
    assert first_pixel(tmp_path, file) == [200, 30, 90]


def test_clear_parts_are_shown_on_white(tmp_path: Path) -> None:
    file = write(tmp_path / "a" / "x.png", (0, 0, 0, 0), "RGBA")
    assert first_pixel(tmp_path, file) == [255, 255, 255]


def test_half_clear_grey_is_shown_on_white(tmp_path: Path) -> None:
    file = write(tmp_path / "a" / "x.png", (0, 51), "LA")
    assert first_pixel(tmp_path, file, GREY) == [204]


def test_print_colours_become_screen_colours(tmp_path: Path) -> None:
    file = write(tmp_path / "a" / "x.tif", (0, 255, 255, 0), "CMYK")
    assert first_pixel(tmp_path, file) == [255, 0, 0]


@pytest.mark.parametrize("image", [RGB, GREY])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, image: ImageSpec) -> None:
    file = tmp_path / "a" / "x.png"
    file.parent.mkdir()
    Image.fromarray(np.full((10, 12), 128 * 257, np.uint16)).save(file)
    assert first_pixel(tmp_path, file, image) == [128] * image.channels


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    file = write(tmp_path / "a" / "x.png", 1, "1")
    assert first_pixel(tmp_path, file) == [255, 255, 255]


def test_the_camera_orientation_is_applied(tmp_path: Path) -> None:
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8] = 255  # light above
    stored = Image.fromarray(np.rot90(upright).copy())  # turned left, and tagged to be turned right
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").mkdir()
    stored.save(tmp_path / "a" / "x.png", exif=exif)
    write(tmp_path / "z" / "other.png")
    x_chw, _, _ = open_target("image_folder", root=tmp_path).dataset([0], RGB)[0]
    assert float(x_chw[:, :3].min()) > 0.9
    assert float(x_chw[:, 5:].max()) < 0.1


def test_the_shorter_side_is_resized_and_the_middle_kept(tmp_path: Path) -> None:
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = 255  # the middle third
    (tmp_path / "a").mkdir()
    Image.fromarray(wide).save(tmp_path / "a" / "x.png")
    write(tmp_path / "z" / "other.png")
    narrower = ImageSpec(3, 16, (0.0,) * 3, (1.0,) * 3, 20)
    x_chw, _, _ = open_target("image_folder", root=tmp_path).dataset([0], narrower)[0]
    assert x_chw.shape == (3, 16, 16)
    assert float(x_chw[:, :, 1:-1].min()) > 0.98


def test_images_decoded_on_access_are_the_same(tmp_path: Path) -> None:
    fill(tmp_path, n=12)
    kept, again = (
        open_target("image_folder", root=tmp_path, ram_gb=gb).dataset(range(24), RGB)
        for gb in (1.0, 1e-9)
    )
    assert kept.in_memory
    assert not again.in_memory
    assert torch.equal(kept.tensors()[0], again.tensors()[0])


def test_the_fingerprint_follows_content_and_class_but_not_the_place(tmp_path: Path) -> None:
    one = fill(tmp_path / "one")
    shutil.copytree(one, tmp_path / "copy")
    shutil.copytree(one, tmp_path / "moved")
    shutil.move(tmp_path / "moved" / "a" / "0.png", tmp_path / "moved" / "b" / "9.png")
    shutil.copytree(one, tmp_path / "changed")
    write(tmp_path / "changed" / "a" / "0.png", (1, 2, 3))
    prints = {
        name: open_target("image_folder", root=tmp_path / name).fingerprint
        for name in ("one", "copy", "moved", "changed")
    }
    assert prints["one"] == prints["copy"]
    assert len(set(prints.values())) == 3


def test_progress_counts_every_image_and_then_those_that_are_compared(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    open_target("image_folder", root=fill(tmp_path), progress=lambda *one: seen.append(one))
    checked = [(i, 8, "checking images") for i in range(1, 9)]
    assert seen == [*checked, (0, 8, "looking for near copies")]


def test_a_missing_folder_is_refused_with_the_nearest_one_beside_it(tmp_path: Path) -> None:
    fill(tmp_path / "flowers")
    ((value, rule, mend),) = refused(tmp_path / "flower")
    assert value == f"target.root={tmp_path / 'flower'}"
    assert "beside it: flowers" in rule
    assert mend == f"target.root={tmp_path / 'flowers'}"


def test_a_folder_without_images_says_where_it_looked(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("")
    ((value, _, _),) = refused(tmp_path)
    assert "looked in docs" in value


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    ((value, _, _),) = refused(tmp_path)
    assert "no sub-folders" in value


def test_one_class_is_refused(tmp_path: Path) -> None:
    ((value, rule, _),) = refused(fill(tmp_path, "a"))
    assert value.endswith("1 class(es) to train: a")
    assert "2 classes or more" in rule


def test_an_empty_class_and_a_class_that_train_lacks_are_refused_together(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    (tmp_path / "train" / "empty").mkdir()
    fill(tmp_path / "val", "abc")
    fill(tmp_path / "test", "ad")
    first, second = refused(tmp_path)
    assert "no images in train/empty" in first[0].replace(os.sep, "/")
    assert "report: d, select: c" in second[0]


def test_val_without_train_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "val")
    ((value, _, mend),) = refused(tmp_path)
    assert value.endswith("with val but no train")
    assert str(tmp_path / "train") in mend


def test_layout_faults_show_without_decoding(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "a" / "0.png").write_bytes(b"")
    check_target("image_folder", root=tmp_path)
    with pytest.raises(Refusal):
        check_target("image_folder", root=tmp_path / "absent")


def test_damaged_images_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    fill(tmp_path, n=10)
    whole = write(tmp_path / "a" / "0.jpg").read_bytes()
    (tmp_path / "a" / "0.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a" / "1.png").write_bytes(b"")
    (tmp_path / "a" / "2.png").write_text("<html>")
    png = (tmp_path / "a" / "3.png").read_bytes()
    (tmp_path / "a" / "3.png").write_bytes(png[:-30])
    for k in range(4, 8):
        (tmp_path / "b" / f"{k}.png").write_bytes(b"x")
    ((value, rule, mend),) = refused(tmp_path)
    assert "8 of 21 images" in value
    assert "1.png (empty file)" in value
    assert all(name in value for name in ("0.jpg", "2.png", "3.png", "4.png"))
    assert value.endswith("and 3 more")
    assert rule == "every image can be decoded"
    assert mend == ("delete these files, or save them again; target.on_error=skip leaves them out")


@pytest.mark.filterwarnings("error")
def test_an_image_of_too_many_pixels_is_refused_with_the_setting_that_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 70)  # Pillow warns from 70, and raises from 140
    Image.new("RGB", (20, 12)).save(tmp_path / "a" / "0.png")
    ((value, rule, mend),) = refused(tmp_path, max_pixels=120)
    assert value.endswith("1 of 8 images: a/0.png (20 x 12 pixels, more than 120)")
    assert rule == "an image has 120 pixels at most"
    assert mend.startswith("target.max_pixels=240 where the memory holds them")
    target = open_target("image_folder", root=tmp_path, max_pixels=240)
    assert target.dataset(range(8), RGB).tensors().z.shape == (8, 3, 8, 8)
    assert Image.MAX_IMAGE_PIXELS == 70


def test_unknown_ways_to_read_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    first, second = refused(fill(tmp_path), on_error="skp", max_pixels=0)
    assert first[::2] == ("target.on_error=skp", "target.on_error=skip")
    assert second[0] == "target.max_pixels=0"


# ---------------------------------------------------------------------- left out
def damaged(root: Path) -> Path:
    """Two classes of 14 images in train and val; 12 of train's a, and val's b, are no images."""
    for part in ("train", "val"):
        fill(root / part, n=14)
    for k in range(12):
        (root / "train" / "a" / f"{k}.png").write_bytes(b"no image")
    for file in (root / "val" / "b").iterdir():
        file.write_bytes(b"")
    return root


def test_images_that_cannot_be_read_are_left_out_counted_and_ten_of_them_named(
    tmp_path: Path,
) -> None:
    root = damaged(tmp_path / "photos")
    target = open_target("image_folder", root=root, on_error="skip")
    assert np.bincount(target.labels).tolist() == [2 + 14, 14]
    assert {split: len(ids) for split, ids in target.given.items()} == {
        Split.FIT: 2 + 14,
        Split.SELECT: 14,
    }
    lacks, left_out = target.said
    assert lacks == "val has no image of b"
    assert left_out.startswith("26 of 56 images are left out, since they cannot be read: train/a/0")
    assert left_out.count(".png (not an image") == 10
    assert left_out.endswith(", and 16 more")


def test_what_is_left_out_might_as_well_not_be_there(tmp_path: Path) -> None:
    root = damaged(tmp_path / "photos")
    shutil.copytree(root, tmp_path / "whole" / "photos")
    one = open_target("image_folder", root=root, on_error="skip")
    for file in (tmp_path / "whole").rglob("*.png"):
        if file.stat().st_size < 20:
            file.unlink()
    (tmp_path / "whole" / "photos" / "val" / "b").rmdir()
    other = open_target("image_folder", root=tmp_path / "whole" / "photos")
    assert one.fingerprint == other.fingerprint
    assert one.labels.tolist() == other.labels.tolist()
    assert torch.equal(one.dataset([0, 9], RGB).tensors().z, other.dataset([0, 9], RGB).tensors().z)


def test_a_class_and_a_part_of_which_nothing_is_left_are_refused_by_name(tmp_path: Path) -> None:
    root = damaged(tmp_path)
    for file in (*(root / "train" / "a").iterdir(), *(root / "val" / "a").iterdir()):
        file.write_bytes(b"")
    ((value, rule, _),) = refused(root, on_error="skip")
    assert value == f"target.root={root}, of which no image of class a and select can be read"
    assert rule == "every class has images to train, and every part that is there has some"


# ---------------------------------------------------------------------- formats
WRITTEN = (
    "apng avif bmp dds dib gif icns ico j2k jfif jp2 jpeg jpe mpo pcx png ppm pnm qoi sgi rgb"
    " tga tif tiff webp"
)


@pytest.mark.parametrize("ending", WRITTEN.split())
def test_what_pillow_writes_is_read_by_its_ending(tmp_path: Path, ending: str) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGB", (16, 16), (200, 30, 90)).save(tmp_path / "a" / f"x.{ending}")
    write(tmp_path / "z" / "other.png")
    x_chw, _, _ = open_target("image_folder", root=tmp_path).dataset([0], RGB)[0]
    wanted = torch.tensor([200, 30, 90]).view(3, 1, 1)
    assert float((x_chw * 255 - wanted).abs().max()) <= 3


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


def test_postscript_is_no_image_whatever_it_is_called(tmp_path: Path) -> None:
    fill(tmp_path / "photos")
    for name in ("x.eps", "x.jpg"):
        (tmp_path / "photos" / "a" / name).write_bytes(POSTSCRIPT)
    ((value, _, _),) = refused(tmp_path / "photos")
    assert value.endswith("1 of 9 images: a/x.jpg (not an image, or of a format that is not known)")
    target = open_target("image_folder", root=tmp_path / "photos", on_error="skip")
    assert target.said[0] == (
        "photos: left out are 1 .eps files (they are read once they are saved as PNG or TIFF)"
    )


def test_a_class_of_files_that_are_not_read_is_refused_with_what_reads_them(
    tmp_path: Path,
) -> None:
    fill(tmp_path)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x.DCM").write_bytes(b"a scan")
    ((value, _, mend),) = refused(tmp_path)
    assert value.endswith("no images in c")
    assert mend.startswith("1 .dcm files (they are read once they are saved as PNG or TIFF); ")


@pytest.mark.skipif(find_spec("pillow_heif") is not None, reason="pillow_heif is here")
def test_without_its_reader_heic_is_left_out_with_what_to_install(tmp_path: Path) -> None:
    fill(tmp_path / "photos")
    (tmp_path / "photos" / "a" / "x.HEIC").write_bytes(b"a photograph")
    assert open_target("image_folder", root=tmp_path / "photos").said == (
        "photos: left out are 1 .heic files (pip install pillow-heif reads them)",
    )


def test_heic_is_read_where_its_reader_is(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    (tmp_path / "a").mkdir()
    image = Image.new("RGB", (16, 16), (200, 30, 90))
    pillow_heif.from_pillow(image).save(tmp_path / "a" / "x.heic")
    write(tmp_path / "z" / "other.png")
    x_chw, _, _ = open_target("image_folder", root=tmp_path).dataset([0], RGB)[0]
    wanted = torch.tensor([200, 30, 90]).view(3, 1, 1)
    assert float((x_chw * 255 - wanted).abs().max()) <= 4


def test_an_image_that_went_away_is_named(tmp_path: Path) -> None:
    target = open_target("image_folder", root=fill(tmp_path))
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(Refusal, match=r"1\.png"):
        target.dataset([0, 1], RGB)


@pytest.mark.real
def test_real_photographs_open_as_they_were_published(tmp_path: Path) -> None:
    default = Path(__file__).parents[2] / ".." / "shared" / "data"
    path = Path(os.environ.get("TLSWEEP_REAL_DATA", default)) / "hymenoptera" / "hymenoptera.zip"
    if not path.is_file():
        pytest.skip(f"no real data at {path} (TLSWEEP_REAL_DATA)")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    target = open_target("image_folder", root=tmp_path)
    assert target.output_names == ("ants", "bees")
    assert {split: len(ids) for split, ids in target.given.items()} == {
        Split.FIT: 244,
        Split.SELECT: 153,
    }
    parts = partition(
        target.labels,
        fit_size=100,
        select_fraction=0.2,
        report_fraction=0.2,
        seed=0,
        given=target.given,
    )
    assert np.array_equal(parts.report, target.given[Split.SELECT])
    image = ImageSpec(3, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 72)
    x_nchw, _, labels = target.dataset(parts.rows(Split.FIT, None), image).tensors()
    assert x_nchw.shape == (100, 3, 64, 64)
    assert abs(float(x_nchw.mean())) < 0.5
    assert set(labels.tolist()) == {0, 1}


@pytest.mark.parametrize(
    "names", [("Train", "Val", "Test"), ("training", "valid", "testing"), ("TRAIN", "dev", "test")]
)
def test_parts_have_their_usual_names_in_any_case(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name, n in zip(names, (4, 2, 3), strict=True):
        fill(tmp_path / name, n=n)
    target = open_target("image_folder", root=tmp_path)
    sizes = [len(target.given[split]) for split in (Split.FIT, Split.SELECT, Split.REPORT)]
    assert sizes == [8, 4, 6]
    assert target.said == ()


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "bus", "test"):
        write(tmp_path / name / "0.png")
    target = open_target("image_folder", root=tmp_path)
    assert target.output_names == ("bus", "test", "train")
    assert target.given == {}


def test_two_folders_of_one_part_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "val")
    fill(tmp_path / "validation")
    ((value, rule, _),) = refused(tmp_path)
    assert value.endswith("with val and validation")
    assert rule == "each of train, val and test is one folder"


def test_parts_by_other_names_are_refused_with_what_they_hold(tmp_path: Path) -> None:
    for name in ("first", "second"):
        fill(tmp_path / name, "ab")
    ((value, _, mend),) = refused(tmp_path)
    assert value.endswith("where first, second hold the same folders (a, b)")
    assert mend == f"rename them: {tmp_path / 'train'}, {tmp_path / 'test'}"


def test_one_folder_too_many_is_mended_by_its_name(tmp_path: Path) -> None:
    fill(tmp_path / "hymenoptera_data" / "train")
    ((value, _, mend),) = refused(tmp_path)
    assert value.endswith("1 class(es) to train: hymenoptera_data")
    assert mend == f"target.root={tmp_path / 'hymenoptera_data'}"


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    fill(root / "train", "abc")
    fill(root / "val", "ab")
    for name in ("0.png", "1.png"):
        write(root / "test" / name)
    write(root / "extra" / "x" / "0.png")
    write(root / "train" / "0.png")
    write(root / "train" / "a" / "__MACOSX" / "0.png")
    write(root / "train" / "b" / "inner" / ".ipynb_checkpoints" / "0.png")
    (root / "train" / "a" / "notes.txt").write_text("")
    target = open_target("image_folder", root=root)
    assert len(target.labels) == 12 + 8
    assert target.said == (
        "photos: left out are 1 .txt files, 2 folders of tools",
        "extra: left out with its 1 image, no train, val or test",
        "test: left out with its 2 images, without class folders",
        "train: left out are 1 image without a class folder",
        "val has no image of c",
    )


def test_a_link_that_leads_back_is_followed_by_nobody(tmp_path: Path) -> None:
    root = fill(tmp_path / "photos")
    (root / "a" / "up").symlink_to(root, target_is_directory=True)
    (root / "b" / "other").symlink_to(root / "a", target_is_directory=True)
    noise(tmp_path / "elsewhere" / "far.png", 1, 2, 3)
    (root / "b" / "far").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    target = open_target("image_folder", root=root)
    assert target.labels.tolist() == [0] * 4 + [1] * 5
    assert target.said == ("photos: left out are 2 links to folders that are there already",)


# ---------------------------------------------------------------------- names
def test_names_of_any_bytes_are_read_and_written_as_text(tmp_path: Path) -> None:
    root = fill(tmp_path / "photos")
    for old, new in ((b"a", b"caf\xe9"), (b"b/0.png", b"b/\xff = '#(.png")):
        (root / os.fsdecode(old)).rename(root / os.fsdecode(new))
    (root / "b" / os.fsdecode(b"x.\xfe")).write_bytes(b"")
    target = open_target("image_folder", root=root)
    assert target.output_names == ("b", "caf\\xe9")
    assert target.called(3) == "b/\\xff = '#(.png"
    assert target.said == ("photos: left out are 1 .\\xfe files",)
    json.dumps([target.output_names, target.said], ensure_ascii=False).encode()
    assert target.dataset(range(8), RGB).tensors().z.shape == (8, 3, 8, 8)


def test_a_class_is_one_however_its_accents_are_put_together(tmp_path: Path) -> None:
    one, two = "\u00e9t\u00e9", "e\u0301te\u0301"  # of Linux, of macOS
    fill(tmp_path / "train", "a")
    fill(tmp_path / "val", "a")
    for folder in (f"train/{two}", f"val/{one}"):
        noise(tmp_path / folder / "0.png", len(folder))
        noise(tmp_path / folder / "1.png", len(folder), 1)
    target = open_target("image_folder", root=tmp_path)
    assert target.output_names == ("a", one)
    assert target.labels.tolist() == [0] * 4 + [1] * 2 + [0] * 4 + [1] * 2
