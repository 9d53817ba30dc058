"""Every cut point of every torchvision classification model (minutes; ``pytest -m zoo``)."""

from __future__ import annotations

from typing import Any

import networks
import pytest
import torch
from torch import nn

from tlsweep.cut import CutPoints, cut_points, folded, split
from tlsweep.cut.fold import TOLERANCE

# The smallest inputs that are allowed, for time: the graph is the same at any size.
PATCHES = {"vit_b_16": 16, "vit_b_32": 32, "vit_l_16": 16, "vit_l_32": 32, "vit_h_14": 14}
SIZES = {"inception_v3": 96, "maxvit_t": 224, **{name: 2 * p for name, p in PATCHES.items()}}
USUAL_SIZE = 64
BLOCKS = 2025

verified: dict[str, int] = {}


def model_names() -> list[str]:
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def build(name: str) -> nn.Module:
    from torchvision.models import get_model

    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    if name in PATCHES:
        options["image_size"] = SIZES[name]
    torch.manual_seed(0)
    return networks.unlike_fresh(get_model(name, weights=None, **options))


@torch.no_grad()
def verify(model: nn.Module, cuts: CutPoints, size: int) -> None:
    x = torch.randn(1, 3, size, size)
    expected = model(x)
    assert expected.isfinite().all()
    assert expected.std() > 0
    for cut in cuts:
        prefix, suffix = split(model, cut)
        z = prefix(x)
        assert z.shape[1:] == cut.shape, cut.name
        assert torch.equal(suffix(z), expected), cut.name
    quick = folded(prefix)(x)
    assert (quick - z).abs().max() <= TOLERANCE * z.abs().max()


@pytest.mark.zoo
@pytest.mark.parametrize("name", model_names())
def test_suffix_of_prefix_is_the_model_at_every_cut_point(name: str) -> None:
    size = SIZES.get(name, USUAL_SIZE)
    model = build(name)
    cuts = cut_points(model, torch.empty(2, 3, size, size))
    verify(model, cuts, size)
    assert all(cuts.resolve(text) is cut for cut in cuts for text in cut.all_names)
    verified[name] = cuts.n_blocks


@pytest.mark.zoo
def test_all_models_together_have_2025_cut_points_above_their_inputs() -> None:
    if len(verified) < len(model_names()):
        pytest.skip("needs the tests of all models before it")
    print(f"\n{sum(verified.values())} cut points of {len(verified)} models, bit for bit")  # noqa: T201
    assert sum(verified.values()) == BLOCKS
