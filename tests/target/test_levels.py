"""Images of more than 8 bits are brought to 8 by one range for all of a target, never clipped."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tlsweep.errors import Refusal
from tlsweep.target import open_target
from tlsweep.target.decode import read_image
from tlsweep.terms import ImageSpec

RGB = ImageSpec(channels=3, size=8, mean=(0.0,) * 3, std=(1.0,) * 3, resize=8)
GREY = ImageSpec(channels=1, size=8, mean=(0.0,), std=(1.0,), resize=8)
WIDE = "of more than 8 bits: numbers from"


def png(pixels: NDArray[Any]) -> bytes:
    """A PNG of 16 bits: grey, grey and alpha, RGB or RGBA, by the number of channels."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    crc = (struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)
    chunks = (
        struct.pack(">I", len(data)) + name + data + check
        for (name, data), check in zip(parts, crc, strict=True)
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(
    data: bytes, shape: tuple[int, int, int], *, end: str = "<", bits: int = 16, packed: int = 1,
    planes: int = 1, form: int = 1,
) -> bytes:  # fmt: skip
    """A TIFF. packed: 1 for plain bytes, 8 for zlib's."""
    height, width, channels = shape
    data = zlib.compress(data) if packed == 8 else data
    places = 8 + 2 + 12 * 11 + 4  # of how many bits each channel has
    several = channels > 2
    tags = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, places if several else bits),
        (259, 3, 1, packed), (262, 3, 1, 2 if several else 1), (273, 4, 1, places + 2 * channels),
        (277, 3, 1, channels), (278, 3, 1, height), (279, 4, 1, len(data)), (284, 3, 1, planes),
        (339, 3, 1, form),
    ]  # fmt: skip
    head = (b"II" if end == "<" else b"MM") + struct.pack(f"{end}HIH", 42, 8, len(tags))
    for tag, kind, count, value in tags:
        short = kind == 3 and count == 1
        head += struct.pack(end + ("HHIHH" if short else "HHII"), tag, kind, count, value,
                            *([0] if short else []))  # fmt: skip
    return head.ljust(places, b"\0") + struct.pack(f"{end}{channels}H", *[bits] * channels) + data


def opened(root: Path, **files: bytes) -> Any:
    """A folder of these files, each in class a, and one of 8 bits in class b."""
    for folder in ("a", "b"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / "a" / name.replace("_", ".")).write_bytes(content)
    draw = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(draw).save(root / "b" / "eight.png")
    return open_target("image_folder", root=root, twins="exact")  # ramps are all alike


def levels_of(target: Any, index: int = 0, image: ImageSpec = GREY) -> NDArray[Any]:
    """The pixels, 0 to 255, of an image of 8 x 8 at [C, 8, 8]."""
    x_chw, _, _ = target.dataset([index], image)[0]
    found: NDArray[Any] = (x_chw * 255).round().numpy()
    return found


def ramp(low: float, high: float, kind: str = "<u2") -> NDArray[Any]:
    """64 numbers from ``low`` to ``high``, 8 x 8."""
    return np.round(np.linspace(low, high, 64)).reshape(8, 8).astype(kind)


EIGHT = np.round(np.linspace(0, 255, 64)).reshape(8, 8)  # what a ramp becomes
TWELVE = ramp(0, 4095)
COLOUR = np.stack([ramp(0, 4095), ramp(4095, 0), ramp(0, 4095)], 2)
CLEAR = np.full((8, 8, 1), 65535, "<u2")


def near(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return bool(np.abs(one - other).max() <= 1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x_png", png(TWELVE[..., None])),
        ("x_png", png(np.concatenate([TWELVE[..., None], CLEAR], 2))),
        ("x_tif", tiff(TWELVE.tobytes(), (8, 8, 1))),
        ("x_tif", tiff(TWELVE.astype(">u2").tobytes(), (8, 8, 1), end=">")),
    ],
    ids=["png", "png with alpha", "tiff", "tiff, the great end first"],
)
def test_12_bits_in_16_are_scaled_by_their_own_range(
    tmp_path: Path, name: str, content: bytes
) -> None:
    target = opened(tmp_path, **{name: content})
    assert near(levels_of(target)[0], EIGHT)
    assert target.levels == (0, 4095)
    assert target.said == (
        f"1 image {WIDE} 0 to 4095, the range of all of them, are scaled to 0 to 255",
    )


@pytest.mark.parametrize("channels", [3, 4], ids=["RGB", "RGBA"])
@pytest.mark.parametrize("kind", ["png", "tiff", "tiff >", "tiff, packed", "tiff >, packed"])
def test_12_bits_in_16_of_each_colour_are_read_in_full(
    tmp_path: Path, kind: str, channels: int
) -> None:
    pixels = np.concatenate([COLOUR, CLEAR], 2)[..., :channels]
    end, packed = ">" if ">" in kind else "<", 8 if "packed" in kind else 1
    data = pixels.astype(f"{end}u2").tobytes()
    if kind == "png":
        target = opened(tmp_path, x_png=png(pixels))
    else:
        target = opened(tmp_path, x_tif=tiff(data, pixels.shape, end=end, packed=packed))
    assert near(levels_of(target, image=RGB), np.stack([EIGHT, 255 - EIGHT, EIGHT]))
    assert target.levels == (0, 4095)


def test_all_files_of_a_target_have_one_range(tmp_path: Path) -> None:
    dark, light = ramp(100, 600), ramp(600, 1100)
    target = opened(tmp_path, dark_png=png(dark[..., None]), light_png=png(light[..., None]))
    assert target.levels == (100, 1100)
    assert near(levels_of(target, 0)[0], EIGHT / 2)
    assert near(levels_of(target, 1)[0], 127.5 + EIGHT / 2)


@pytest.mark.parametrize(
    ("pixels", "form", "levels"),
    [
        (ramp(-1000, 3000, "<i4"), 2, (-1000, 3000)),
        (ramp(0, 4_000_000_000, "<u4"), 1, (0, 4_000_000_000)),
        ((np.linspace(-1, 1, 64).reshape(8, 8)).astype("<f4"), 3, (-1, 1)),
    ],
    ids=["integers with signs", "integers without", "floats"],
)
def test_32_bits_are_neither_clipped_nor_flat(
    tmp_path: Path, pixels: NDArray[Any], form: int, levels: tuple[float, float]
) -> None:
    content = tiff(pixels.tobytes(), (8, 8, 1), bits=32, form=form)
    target = opened(tmp_path, x_tif=content)
    assert target.levels == levels
    assert near(levels_of(target)[0], EIGHT)


def test_what_a_file_says_of_its_range_counts(tmp_path: Path) -> None:
    file = tmp_path / "x.tif"
    Image.fromarray(ramp(0, 500)).save(file, tiffinfo={340: 0, 341: 1000})
    target = opened(tmp_path, x_tif=file.read_bytes())
    assert target.levels == (0, 1000)
    assert near(levels_of(target)[0], EIGHT / 2)


def test_numbers_beyond_what_a_file_says_are_not_clipped(tmp_path: Path) -> None:
    file = tmp_path / "x.tif"
    Image.fromarray(ramp(0, 2000)).save(file, tiffinfo={340: 0, 341: 1000})
    assert opened(tmp_path, x_tif=file.read_bytes()).levels == (0, 2000)


def test_a_tiff_of_12_bits_has_4096_levels(tmp_path: Path) -> None:
    numbers = ramp(0, 2047).ravel()
    pairs = numbers.reshape(-1, 2).astype(np.uint32)
    both = (pairs[:, 0] << 12) | pairs[:, 1]
    data = b"".join(int(one).to_bytes(3, "big") for one in both)
    target = opened(tmp_path, x_tif=tiff(data, (8, 8, 1), bits=12))
    assert target.levels == (0, 4095)
    assert near(levels_of(target)[0], EIGHT / 2)


def test_numbers_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    pixels = ramp(0, 9).astype("<f4")
    pixels[3, 3] = np.nan
    with pytest.raises(Refusal, match=r"a/x\.tif \(pixels that are no finite numbers\)"):
        opened(tmp_path, x_tif=tiff(pixels.tobytes(), (8, 8, 1), bits=32, form=3))


def test_16_bits_that_cannot_be_read_in_full_are_refused_by_name(tmp_path: Path) -> None:
    data = np.ascontiguousarray(COLOUR.transpose(2, 0, 1)).tobytes()
    with pytest.raises(Refusal, match=r"a/x\.tif \(16 bits a channel in planes of their own\)"):
        opened(tmp_path, x_tif=tiff(data, (8, 8, 3), planes=2))


def test_one_far_number_that_makes_all_others_flat_is_said(tmp_path: Path) -> None:
    far = ramp(0, 100)
    far[0, 0] = 60000
    ramps = {f"r{i}_png": png(ramp(i, 100 + i)[..., None]) for i in range(3)}
    (said,) = opened(tmp_path, far_png=png(far[..., None]), **ramps).said
    assert said.startswith(f"4 images {WIDE} 0 to 60000")
    assert "half of them have 1 of these 256 levels or fewer" in said


def test_8_bits_beside_wider_images_stay_as_they_are(tmp_path: Path) -> None:
    target = opened(tmp_path, x_png=png(TWELVE[..., None]))
    stored = np.asarray(Image.open(tmp_path / "b" / "eight.png")).transpose(2, 0, 1)
    assert np.array_equal(levels_of(target, 1, RGB), stored)


@pytest.mark.parametrize("number", [0, -7, 3_000_000])
def test_a_wide_image_of_one_number_is_an_image(tmp_path: Path, number: int) -> None:
    pixels = np.full((8, 8), number, "<i4")
    opened(tmp_path, x_tif=tiff(pixels.tobytes(), (8, 8, 1), bits=32, form=2))
    target = open_target("image_folder", root=tmp_path)
    assert target.said[-1] == "1 image of one colour all over: a/x.tif"
    assert len({*levels_of(target).ravel()}) == 1


def test_wide_images_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(TWELVE).save(tmp_path / "x.png", exif=exif)
    target = opened(tmp_path, x_png=(tmp_path / "x.png").read_bytes())
    assert near(levels_of(target)[0], 255 - EIGHT)


def test_images_of_one_colour_are_counted_and_named(tmp_path: Path) -> None:
    for i in range(7):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.new("L", (8, 8), 30 * i).save(tmp_path / "a" / f"{i}.png")
    names = ", ".join(f"a/{i}.png" for i in range(5))
    assert opened(tmp_path).said == (f"7 images of one colour all over: {names}, and 2 more",)


def test_a_wide_image_alone_is_read_by_the_range_that_it_is_given(tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(png(ramp(0, 2047)[..., None]))
    assert near(read_image(file, GREY, levels=(0, 4095))[0].astype(int), EIGHT / 2)


def test_32_bits_alone_are_refused_where_nothing_tells_their_range(tmp_path: Path) -> None:
    file = tmp_path / "x.tif"
    file.write_bytes(tiff(ramp(0, 9, "<i4").tobytes(), (8, 8, 1), bits=32, form=2))
    with pytest.raises(ValueError, match="whose range nothing tells"):
        read_image(file, GREY)
