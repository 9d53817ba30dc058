"""Near copies of a picture are found and stay together; pictures that are alike are no copies."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from scipy.stats import binomtest
from sklearn.datasets import load_digits

from tlsweep.config.settings import Settings
from tlsweep.errors import Refusal
from tlsweep.question import Question
from tlsweep.target import open_target
from tlsweep.target.near import Floats, candidates, firsts, thumbnail
from tlsweep.terms import ImageSpec, Split
from tlsweep.trial import question_of

Edit = Callable[[Image.Image], Image.Image]


def picture(seed: int, width: int = 96, height: int = 72) -> Image.Image:
    """Coarse and fine noise of some colour, which no other seed draws."""
    draw = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cells, weight in ((4, 2.0), (9, 1.0), (24, 0.6)):
        noise = draw.integers(0, 256, (cells, cells, 3), np.uint8)
        fine = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        total += weight * np.asarray(fine)
    return Image.fromarray(np.round(total / 3.6).astype(np.uint8))


def encoded(image: Image.Image, quality: int = 40) -> Image.Image:
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((0, 0, round(0.96 * width), round(0.97 * height)))


EDITS: dict[str, Edit] = {
    "encoded anew": encoded,
    "made smaller": lambda image: image.resize((40, 30), Image.Resampling.BICUBIC),
    "made larger": lambda image: image.resize((200, 150)),
    "squeezed": lambda image: image.resize((72, 72)),
    "cropped": cropped,
    "brightened": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "of less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
}
PICTURES = [picture(seed) for seed in range(120)]


def found(pictures: list[Image.Image]) -> NDArray[np.int64]:
    thumbs = np.stack([thumbnail(one) for one in pictures])
    return firsts(thumbs, np.arange(len(pictures)))


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_copies_are_found_and_nothing_else_is(edit: Edit) -> None:
    copies = [edit(one) for one in PICTURES[:40]]
    assert found([*PICTURES, *copies]).tolist() == [*range(120), *range(40)]


def test_copies_of_copies_are_one_with_all_of_them() -> None:
    shown = PICTURES[7]
    many = [encoded(shown.resize((96 - i, 72)), quality=75) for i in range(25)]
    assert found([*PICTURES, *many]).tolist() == [*range(120), *[7] * 25]


def test_a_few_pictures_are_told_apart_too() -> None:
    assert found([*PICTURES[:3], encoded(PICTURES[1])]).tolist() == [0, 1, 2, 1]


def test_the_steps_of_a_slow_film_are_one() -> None:
    wide = picture(999, 400, 72)
    film = [wide.crop((x, 0, x + 96, 72)) for x in range(0, 30)]
    assert found([*PICTURES, *film]).tolist() == [*range(120), *[120] * 30]


def test_handwritten_digits_which_are_all_alike_are_no_copies() -> None:
    ink = [Image.fromarray(np.round(one * 15.9).astype(np.uint8)) for one in load_digits().images]
    first = found(ink)
    assert int((first != np.arange(len(ink))).sum()) <= 2  # of 1,797


def test_pictures_that_differ_in_colour_alone_are_no_copies() -> None:
    shape = np.asarray(PICTURES[0].convert("L"))
    none = np.zeros_like(shape)
    red, blue = np.stack([shape, none, none], 2), np.stack([none, none, shape], 2)
    several = [*map(Image.fromarray, (red, blue)), *PICTURES[1:30]]
    assert found(several).tolist() == list(range(31))


def test_pictures_of_one_colour_are_no_copies() -> None:
    plain = [Image.new("RGB", (40, 40), (i, 9, 9)) for i in range(20)]
    assert found([*plain, *PICTURES[:20]]).tolist() == list(range(40))


# ---------------------------------------------------------------------- targets
def folder(root: Path) -> Path:
    """Two classes of 16 pictures in train and test; test has four of train's again, edited."""
    edits = list(EDITS.values())[:4]
    for i, one in enumerate(PICTURES[:64]):
        part, name = ("train", "test")[i // 32], "ab"[i % 2]
        file = root / part / name / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        (edits[i - 32](PICTURES[i - 32]) if 32 <= i < 36 else one).save(file)
    return root


def test_copies_in_the_users_train_and_test_are_named(tmp_path: Path) -> None:
    said = open_target("image_folder", root=folder(tmp_path)).said
    assert said == (
        "4 images are near copies (one picture encoded anew, resized, slightly cropped or"
        " brightened), kept together as one: train/a/0.png and test/a/32.png,"
        " train/a/2.png and test/a/34.png, train/b/1.png and test/b/33.png,"
        " train/b/3.png and test/b/35.png",
        "near copies in two given parts: train/a/0.png and test/a/32.png,"
        " train/a/2.png and test/a/34.png, train/b/1.png and test/b/33.png,"
        " train/b/3.png and test/b/35.png",
    )


def test_contents_alone_count_where_that_is_asked_for(tmp_path: Path) -> None:
    target = open_target("image_folder", root=folder(tmp_path), twins="exact")
    assert target.said == ()
    assert target.like.tolist() == list(range(64))


def test_an_unknown_way_to_find_twins_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"target\.twins=nearly"):
        open_target("image_folder", root=folder(tmp_path), twins="nearly")


def test_copies_in_an_array_are_found_too(tmp_path: Path) -> None:
    images = np.stack([np.asarray(one) for one in (*PICTURES[:20], encoded(PICTURES[5]))])
    np.savez(tmp_path / "a.npz", x=images, y=np.arange(21) % 2)
    target = open_target("arrays", file=tmp_path / "a.npz")
    assert target.like.tolist() == [*range(20), 5]


def test_too_few_images_once_copies_are_one_are_mended_by_leaving_them_apart(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    for i, image in enumerate(PICTURES[:40]):
        (tmp_path / "many").mkdir(exist_ok=True)
        image.save(tmp_path / "many" / f"{i}.png")
    (tmp_path / "one").mkdir()
    for name, edit in EDITS.items():
        edit(PICTURES[99]).save(tmp_path / "one" / f"{name}.png")
    target = ("target=image_folder", f"target.root={tmp_path}", "target.fit_size=null")
    with pytest.raises(Refusal) as caught:
        question_of(settings(*target))
    (fault,) = caught.value.faults
    assert fault.value == "too few images (the least is 1) of class one"
    assert fault.mend == (
        "add images of these classes, or take the classes out;"
        " target.twins=exact, which takes 6 near copies for images of their own"
    )
    assert len(question_of(settings(*target, "target.twins=exact")).target.labels) == 47


def straight(low: Floats, kind: Floats) -> Floats:
    """Candidates as their definition reads: all pairs at once."""
    unlike = (1 - low @ low.T).astype(np.float64)
    np.fill_diagonal(unlike, 2)
    limit = np.maximum(0.3 * np.minimum(kind[:, None], kind), 0.004)
    nearest = np.argsort(np.where(unlike < limit, unlike, np.inf), axis=1, kind="stable")[:, :8]
    row = np.repeat(np.arange(len(low)), 8)
    pairs = np.stack([row, nearest.ravel()], 1)[(unlike < limit)[row, nearest.ravel()]]
    return np.unique(np.sort(pairs, axis=1), axis=0)


def test_candidates_in_pieces_are_those_of_all_pairs_at_once() -> None:
    """Ten to a crowd, of some of which more than the eight nearest are near enough."""
    draw = np.random.default_rng(0)
    low = np.repeat(draw.normal(size=(250, 63)), 10, axis=0) + 0.4 * draw.normal(size=(2500, 63))
    low = (low / np.linalg.norm(low, axis=1, keepdims=True)).astype(np.float32)
    kind = draw.uniform(0.2, 0.9, len(low)).astype(np.float32)
    found = candidates(low, kind, np.arange(len(low)))
    assert len(found) > 1000
    assert np.array_equal(found, straight(low, kind))
    few = candidates(low, kind, np.arange(100, 110))
    assert {*map(tuple, few.tolist())} < {*map(tuple, found.tolist())}


# ---------------------------------------------------------------------- what it is for
SMALL = ImageSpec(channels=1, size=24, mean=(0.0,), std=(1.0,), resize=24)
CLASSES = "abcd"


def thrice(root: Path) -> Path:
    """Noise with random labels, each image three times: as it is, encoded anew and resized."""
    draw = np.random.default_rng(0)
    for i in range(120):
        image = Image.fromarray(draw.integers(0, 256, (48, 48), np.uint8).repeat(2, 0).repeat(2, 1))
        there = root / CLASSES[draw.integers(4)]
        there.mkdir(parents=True, exist_ok=True)
        image.save(there / f"{i}.png")
        image.save(there / f"{i}.jpg", quality=70)
        image.resize((80, 80), Image.Resampling.BICUBIC).save(there / f"{i}s.png")
    return root


def nearest_neighbours(question: Question) -> NDArray[np.bool_]:
    """Whether the nearest image of the fit split has an image's label, for each that is held out.

    One of each near copies counts.
    """
    right = []
    for fold in range(len(question.partition.folds)):
        seen, held = (question.partition.rows(split, fold) for split in (Split.FIT, Split.SELECT))
        held = held[np.unique(question.target.like[held], return_index=True)[1]]
        x, z = (
            question.target.dataset(rows, SMALL).tensors().z.flatten(1).double()
            for rows in (seen, held)
        )
        near = seen[((z[:, None] - x[None]) ** 2).sum(2).argmin(1).numpy()]
        right.append(question.target.labels[near] == question.target.labels[held])
    return np.concatenate(right)


def test_random_labels_of_noise_thrice_are_guessed_by_nobody(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    target = ("target=image_folder", f"target.root={thrice(tmp_path)}", "target.fit_size=null")
    right = nearest_neighbours(question_of(settings(*target)))
    held = binomtest(int(right.sum()), len(right)).proportion_ci()
    assert held.low < 1 / len(CLASSES) < held.high
    leaky = nearest_neighbours(question_of(settings(*target, "target.twins=exact")))
    assert leaky.mean() > 0.8  # the premise: copies in another fold tell the label


def test_a_long_search_tells_how_far_it_is() -> None:
    thumbs = np.random.default_rng(0).integers(0, 256, (1100, 1056), dtype=np.uint8)
    told: list[tuple[int, int, str]] = []
    firsts(thumbs, np.arange(1100), lambda *one: told.append(one))
    assert told == [(at, 1100, "looking for near copies") for at in (0, 512, 1024)]
