"""Corrupted images: each kind does what its numbers say, the same to an image wherever it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tlsweep.target import open_target
from tlsweep.target.corrupt import SEVERITIES, Corrupted, corrupted
from tlsweep.target.images import ImageTarget
from tlsweep.terms import ImageSpec

GREY = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
EACH = [(kind, n) for kind in SEVERITIES for n in (1, 2, 3)]
SPEC = ImageSpec(channels=1, size=32, resize=32, mean=(0.5,), std=(0.5,))


def drawn(n: int = 4, size: int = 64) -> torch.Tensor:
    """Photograph-like: smooth, with an edge, and less than full contrast."""
    slope = torch.linspace(60, 180, size).expand(n, 3, size, size).clone()
    slope[..., size // 4 : size // 2, size // 4 : size // 2] = 220
    return slope.to(torch.uint8)


def by(kind: str, severity: int, u8: torch.Tensor) -> torch.Tensor:
    return corrupted(u8, np.arange(len(u8)), kind, SEVERITIES[kind][severity - 1])


@pytest.mark.parametrize(("kind", "severity"), EACH)
def test_an_image_is_corrupted_alike_in_any_batch_and_stays_an_image(
    kind: str, severity: int
) -> None:
    for u8 in (drawn(), drawn()[:, :1], drawn(size=8)):
        whole = by(kind, severity, u8)
        assert whole.shape == u8.shape
        assert whole.dtype == torch.uint8
        amount = SEVERITIES[kind][severity - 1]
        assert corrupted(u8[[3, 1]], np.array([3, 1]), kind, amount).equal(whole[[3, 1]])
        assert not whole.equal(u8)


@pytest.mark.parametrize("kind", SEVERITIES)
def test_each_severity_takes_more_than_the_one_below(kind: str) -> None:
    whole = drawn().float()
    apart = [float((by(kind, n, drawn()).float() - whole).abs().mean()) for n in (1, 2, 3)]
    assert apart[0] < apart[1] < apart[2]


@pytest.mark.parametrize("severity", [1, 2])
def test_noise_has_the_deviation_that_it_says_and_is_another_one_in_each_image(
    severity: int,
) -> None:
    found = by("noise", severity, GREY).float() - 128
    assert float(found.std()) == pytest.approx(255 * SEVERITIES["noise"][severity - 1], rel=0.02)
    assert float(found.mean()) == pytest.approx(0, abs=1)
    assert abs(float(torch.corrcoef(found.flatten(1)[:2])[0, 1])) < 0.05


@pytest.mark.parametrize("severity", [1, 2, 3])
def test_brightness_and_contrast_are_what_is_added_and_what_is_left(severity: int) -> None:
    added = round(255 * SEVERITIES["brightness"][severity - 1])
    assert by("brightness", severity, GREY - 100).unique().tolist() == [28 + added]
    assert by("brightness", 3, GREY + 120).unique().tolist() == [255]
    left = by("contrast", severity, drawn()).float().std() / drawn().float().std()
    assert float(left) == pytest.approx(SEVERITIES["contrast"][severity - 1], abs=0.02)


def test_blur_spreads_a_point_as_wide_as_its_share_of_the_width() -> None:
    point = torch.zeros(1, 1, 100, 100, dtype=torch.uint8)
    point[0, 0, 45:56, 45:56] = 255  # a point would round to nothing
    for severity, share in enumerate(SEVERITIES["blur"], start=1):
        weight = by("blur", severity, point)[0, 0].float().sum(0)
        x = torch.arange(100.0)
        spread = float(((x - 50) ** 2 * weight).sum() / weight.sum())
        own = (11**2 - 1) / 12  # variance of the square
        assert spread - own == pytest.approx((100 * share) ** 2, rel=0.15)


def test_a_corrupted_target_has_the_images_and_labels_of_its_own_and_a_fingerprint_each() -> None:
    digits = open_target("digits")
    assert isinstance(digits, ImageTarget)
    each = [Corrupted(digits, kind, n) for kind, n in EACH]
    assert len({one.fingerprint for one in (digits, *each)}) == 1 + len(EACH)
    one, rows = each[1], np.array([7, 3, 3])
    assert one.name == "digits, noise 2"
    assert one.labels is digits.labels
    assert one.called(7) == digits.called(7)
    batch = one.dataset(rows, SPEC).batch([0, 1, 2])
    assert batch.y.tolist() == digits.labels[rows].tolist()
    assert batch.z[1].equal(batch.z[2])
    plain = digits.dataset(rows, SPEC).batch([0, 1, 2]).z
    assert float((batch.z - plain).abs().mean()) > 0.01
    assert one.dataset(rows[:1], SPEC).batch([0]).z[0].equal(batch.z[0])


def test_an_unknown_kind_or_severity_is_an_error() -> None:
    digits = open_target("digits")
    assert isinstance(digits, ImageTarget)
    with pytest.raises(KeyError):
        Corrupted(digits, "snow", 1)
    with pytest.raises(IndexError):
        Corrupted(digits, "noise", 4)
