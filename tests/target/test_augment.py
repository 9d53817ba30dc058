"""A random view of an image comes from its draw and the image, and from nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tlsweep.target import Augmentation
from tlsweep.target.digits import open as open_digits
from tlsweep.terms import ImageSpec

IDS = np.array([3, 5, 8, 13])
IMAGE = ImageSpec(1, 32, (0.5,), (0.5,), 32)


def pictures(channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (4, channels, 24, 24), generator=generator, dtype=torch.uint8)


@given(order=st.permutations(range(4)), split=st.integers(1, 3))
@hypothesis_settings(max_examples=20, deadline=None)
def test_a_view_does_not_depend_on_the_batch(order: list[int], split: int) -> None:
    view, x = Augmentation(0.5, True, (1,)), pictures()
    whole = view(x, IDS)
    parts = [view(x[p], IDS[p]) for p in (order[:split], order[split:])]
    assert torch.equal(torch.cat(parts), whole[order])


def test_other_draws_are_other_views_of_the_same_size_and_kind() -> None:
    x = pictures()
    views = [Augmentation(0.5, True, draw)(x, IDS) for draw in ((1,), (2,), (1, 0), (1, 7))]
    assert all(v.shape == x.shape and v.dtype == torch.uint8 for v in views)
    assert all(not torch.equal(a, b) for i, a in enumerate(views) for b in views[:i])


def test_two_images_are_not_cropped_alike() -> None:
    x = pictures()[:1].expand(4, -1, -1, -1)
    views = Augmentation(0.3, False, (1,))(x, IDS)
    assert all(not torch.equal(views[0], v) for v in views[1:])


def test_without_crop_and_mirror_an_image_stays_as_it_is() -> None:
    assert torch.equal(Augmentation(1.0, False, (4,))(pictures(), IDS), pictures())


def test_half_of_the_images_are_mirrored_left_to_right() -> None:
    x = pictures(1)[:1].expand(400, -1, -1, -1)
    views = Augmentation(1.0, True, (4,))(x, np.arange(400))
    mirrored = (views == x.flip(3)).flatten(1).all(1)
    kept = (views == x).flatten(1).all(1)
    assert bool((mirrored | kept).all())
    assert 150 < int(mirrored.sum()) < 250


def test_the_global_random_numbers_are_left_as_they_were() -> None:
    before = torch.get_rng_state()
    Augmentation(0.5, True, (1,))(pictures(), IDS)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("ram_gb", [4.0, 1e-9], ids=["in memory", "decoded when read"])
def test_a_targets_items_are_views_where_that_is_asked_for(ram_gb: float) -> None:
    target = open_digits(ram_gb=ram_gb)
    plain = target.dataset(IDS, IMAGE)
    view = target.dataset(IDS, IMAGE, Augmentation(0.5, False, (1,)))
    assert plain.in_memory == (ram_gb > 1)
    assert not torch.equal(view[0][0], plain[0][0])
    assert torch.equal(view[1][0], view.tensors()[0][1])
    assert [item.y for item in view] == [item.y for item in plain]
