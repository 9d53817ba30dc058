"""The drawn targets are the same on every machine, and what is asked can be seen in the images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tlsweep.errors import Refusal
from tlsweep.glyphs.fonts import FONTS
from tlsweep.target import check_target, open_target
from tlsweep.target.glyphs import ATTRIBUTES, IMAGES, MOST
from tlsweep.task import Labels, Numbers
from tlsweep.terms import ImageSpec

GREY = ImageSpec(channels=1, size=32, mean=(0.2,), std=(0.5,), resize=32)


def images(name: str) -> np.ndarray:
    return open_target(name).pixels(np.arange(IMAGES), GREY).numpy()


def test_letters_are_seen_whole() -> None:
    for name in ("glyph_angle", "glyph_attributes"):
        border = images(name).copy()
        assert (border[:, 0].max((1, 2)) > 100).all()
        border[:, :, 1:-1, 1:-1] = 0
        assert (border.max((1, 2, 3)) > 60).mean() < 0.02


def test_angles_are_numbers_in_degrees_either_way() -> None:
    target = open_target("glyph_angle")
    assert isinstance(target.task, Numbers)
    assert target.labels.shape == (IMAGES, 1)
    assert np.abs(target.labels).max() <= MOST
    assert abs(target.labels.mean()) < 3
    assert target.task.spread == pytest.approx(target.labels.std())
    assert target.task.metric.unit.written(3.0) == "3.0 degrees"


def test_a_letter_that_is_turned_back_stands_as_others_do() -> None:
    """Turned by its angle the other way, an image is more like upright ones than as it is."""
    from torchvision.transforms.functional import InterpolationMode, rotate

    target, x = open_target("glyph_angle"), torch.from_numpy(images("glyph_angle")).float()
    degrees = target.labels[:, 0]
    upright = x[np.abs(degrees) < 4].mean(0)
    far = np.flatnonzero(np.abs(degrees) > 35)[:100]
    back = torch.stack(
        [rotate(x[n], -degrees[n], interpolation=InterpolationMode.BILINEAR) for n in far]
    )
    apart = [float((some.mean(0) - upright).square().mean()) for some in (back, x[far])]
    assert apart[0] < 0.5 * apart[1]


def test_attributes_are_those_of_the_fonts() -> None:
    target = open_target("glyph_attributes")
    assert isinstance(target.task, Labels)
    assert target.output_names == tuple(ATTRIBUTES) == ("bold", "slanted", "serif", "monospaced")
    shares = target.labels.mean(0)
    assert np.allclose(shares, [8 / 16, 8 / 16, 8 / 16, 4 / 16], atol=0.05)
    assert len(FONTS) == 16
    assert target.truth_of(int(np.flatnonzero(~target.labels.any(1))[0])) == "none"
    # bold letters have more ink
    ink = images("glyph_attributes").mean((1, 2, 3))
    assert ink[target.labels[:, 0]].mean() > 1.2 * ink[~target.labels[:, 0]].mean()


def test_a_memory_limit_of_nothing_is_refused() -> None:
    with pytest.raises(Refusal, match=r"target\.ram_gb"):
        check_target("glyph_angle", ram_gb=0.0)
