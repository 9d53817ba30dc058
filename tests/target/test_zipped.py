"""A zip of a folder is read in place, as the folder is; what cannot be read is refused by name."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from tlsweep.errors import Fault, Refusal
from tlsweep.target import check_target, open_target
from tlsweep.terms import ImageSpec, Split

RGB = ImageSpec(channels=3, size=8, mean=(0.0,) * 3, std=(1.0,) * 3, resize=8)


def pictures(folder: Path, *parts: str) -> Path:
    for p, part in enumerate(parts or ("",)):
        for c, name in enumerate("ab"):
            for k in range(4):
                file = folder / part / name / f"{k}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng((p, c, k)).integers(0, 256, (10, 12, 3), np.uint8)
                Image.fromarray(pixels).save(file)
    return folder


def zipped(folder: Path, below: str = "", how: int = zipfile.ZIP_DEFLATED) -> Path:
    file = folder.with_suffix(".zip")
    with zipfile.ZipFile(file, "w", how) as archive:
        for one in sorted(folder.rglob("*")):
            archive.write(one, Path(below) / one.relative_to(folder))
    return file


def faults(root: Path) -> tuple[Fault, ...]:
    with pytest.raises(Refusal) as caught:
        check_target("image_folder", root=root)
    return caught.value.faults


@pytest.mark.parametrize(
    ("below", "how"), [("", zipfile.ZIP_STORED), ("photos", zipfile.ZIP_DEFLATED)]
)
def test_a_zip_gives_what_its_folder_gives(tmp_path: Path, below: str, how: int) -> None:
    folder = pictures(tmp_path / "photos", "train", "test")
    one = open_target("image_folder", root=folder)
    other = open_target("image_folder", root=zipped(folder, below, how))
    assert other.fingerprint == one.fingerprint
    assert other.output_names == one.output_names == ("a", "b")
    assert np.array_equal(other.labels, one.labels)
    assert other.given.keys() == one.given.keys() == {Split.FIT, Split.REPORT}
    assert all(np.array_equal(other.given[split], one.given[split]) for split in one.given)
    assert [other.called(i) for i in range(16)] == [one.called(i) for i in range(16)]
    z, _, _ = one.dataset(range(16), RGB).tensors()
    assert bool((other.dataset(range(16), RGB).tensors().z == z).all())
    assert other.name == "photos"


def test_classes_that_lie_below_one_folder_of_a_zip_are_found(tmp_path: Path) -> None:
    file = zipped(pictures(tmp_path / "photos"), "things")
    assert open_target("image_folder", root=file).output_names == ("a", "b")
    deeper = zipped(pictures(tmp_path / "deeper"), "x/y")
    (fault,) = faults(deeper)
    assert fault.mend == f"target.root={deeper / 'x' / 'y'}"
    inside = open_target("image_folder", root=deeper / "x" / "y")
    assert (inside.name, inside.called(0)) == ("y", "a/0.png")


def test_what_macs_leave_in_a_zip_does_not_count(tmp_path: Path) -> None:
    file = zipped(pictures(tmp_path / "photos"), "photos")
    with zipfile.ZipFile(file, "a") as archive:
        for name in ("__MACOSX/photos/a/._0.png", "photos/a/._1.png", "photos/.DS_Store"):
            archive.writestr(name, b"what macOS leaves")
    target = open_target("image_folder", root=file)
    assert len(target.labels) == 8
    assert target.said == ()


def test_several_processes_and_threads_read_one_zip(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", *(f"train/{i}" for i in range(4)))
    file = zipped(folder)
    target = open_target("image_folder", root=file, ram_gb=1e-9, disk_gb=0)
    data = target.dataset(np.tile(np.arange(len(target.labels)), 4), RGB)
    assert not data.in_memory
    loaded = [z for z, _, _ in DataLoader(data, batch_size=8, num_workers=2)]
    alone = data.tensors().z
    assert bool((np.concatenate(loaded) == alone.numpy()).all())
    again = pickle.loads(pickle.dumps(target))
    assert bool((again.dataset([3], RGB).tensors().z == alone[3]).all())


def test_a_damaged_image_in_a_zip_is_named(tmp_path: Path) -> None:
    file = zipped(pictures(tmp_path / "photos"), how=zipfile.ZIP_STORED)
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        at = archive.getinfo("b/2.png").header_offset
    content[at + 80] ^= 0xFF  # within the entry: its checksum no longer fits
    file.write_bytes(content)
    with pytest.raises(Refusal, match=r"b/2\.png \(damaged in the zip\)"):
        open_target("image_folder", root=file)
    assert len(open_target("image_folder", root=file, on_error="skip").labels) == 7


@pytest.mark.parametrize("name", ["../a/9.png", "/a/9.png", "C:/a/9.png", "a/../../9.png"])
def test_an_entry_that_leads_out_of_the_zip_is_refused_by_name(tmp_path: Path, name: str) -> None:
    file = zipped(pictures(tmp_path / "photos"))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, b"")
    (fault,) = faults(file)
    assert fault.value == f"{file}, leads out of the zip: {name}"
    assert fault.mend == "make the zip anew"


@pytest.mark.parametrize(
    ("at", "bits", "why"),
    [(8, 1, "encrypted"), (10, 9, "compressed in a way that Python does not read")],
)
def test_an_entry_that_python_cannot_read_is_refused_with_what_unpacks_it(
    tmp_path: Path, at: int, bits: int, why: str
) -> None:
    """The flags and the kind of compression stand 8 and 10 bytes into an entry of the list."""
    file = zipped(pictures(tmp_path / "my photos"), how=zipfile.ZIP_STORED)
    content = bytearray(file.read_bytes())
    struct.pack_into("<H", content, content.rindex(b"PK\x01\x02") + at, bits)
    file.write_bytes(content)
    (fault,) = faults(file)
    assert fault.value == f"{file}, {why}: b/3.png"
    folder = tmp_path / "my photos"
    assert fault.mend == f"unzip '{file}' -d '{folder}', then {folder} in its place"


def test_a_file_that_is_no_whole_zip_is_refused(tmp_path: Path) -> None:
    whole = zipped(pictures(tmp_path / "photos")).read_bytes()
    cut, other = tmp_path / "cut.zip", tmp_path / "photos.tar.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    other.write_bytes(b"\x1f\x8b")
    (fault,) = faults(cut)
    assert fault.value == f"{cut} (BadZipFile: File is not a zip file)"
    assert faults(other)[0].mend == (
        f"mkdir -p {tmp_path / 'photos'} && tar -xf {other} -C {tmp_path / 'photos'},"
        f" then {tmp_path / 'photos'} in its place"
    )


def test_names_that_a_mac_or_windows_wrote_are_read(tmp_path: Path) -> None:
    """A Mac writes UTF-8 without the flag that says so; some tools of Windows write backslashes."""
    picture = (pictures(tmp_path / "photos") / "a" / "0.png").read_bytes()
    file = tmp_path / "theirs.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("cafxy/0.png", picture)
        archive.writestr("b\\0.png", picture + b"\0")
    file.write_bytes(file.read_bytes().replace(b"cafxy", "caf\u00e9".encode()))
    target = open_target("image_folder", root=file, twins="exact")
    assert target.output_names == ("b", "caf\u00e9")
    assert target.called(0) == "b/0.png"


def test_a_table_names_images_in_a_zip_beside_it(tmp_path: Path) -> None:
    zipped(pictures(tmp_path / "photos"))
    lines = [f"photos.zip/{c}/{k}.png,{c}\n" for c in "ab" for k in range(4)]
    (tmp_path / "table.csv").write_text("path,label\n" + "".join(lines))
    target = open_target("manifest", file=tmp_path / "table.csv")
    assert target.labels.tolist() == [0] * 4 + [1] * 4
    assert target.dataset([0], RGB).tensors().z.shape == (1, 3, 8, 8)
    (tmp_path / "table.csv").write_text("path,label\n" + "".join(lines) + "photos.zip/a/9.png,a\n")
    with pytest.raises(Refusal, match=r"1 of 9 files are not there: photos\.zip/a/9\.png"):
        check_target("manifest", file=tmp_path / "table.csv")
