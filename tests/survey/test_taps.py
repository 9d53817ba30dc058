"""One pass over all cut points gives what each cut point's own prefix gives."""

from __future__ import annotations

import pytest
import torch
import torchvision
from small_torchvision import SMALL

from tlsweep.cut import cut_points, folded, section
from tlsweep.cut.fold import TOLERANCE
from tlsweep.extract.taps import Taps
from tlsweep.heads.head import Pooling, pool
from tlsweep.train.network import channels_last

# in-place statements, concatenation, squeeze-and-excitation, tokens, shifted windows
LARGE = [pytest.param(n, marks=pytest.mark.slow) for n in ("densenet121", "vit_b_32", "swin_t")]
MODELS = ["resnet18", "mobilenet_v3_small", "squeezenet1_1", *SMALL, *LARGE]


@pytest.mark.parametrize("name", MODELS)
def test_every_tap_equals_its_own_prefix(name: str) -> None:
    """Bit for bit that prefix with its BatchNorm folded; as it is, to the tolerance of folding."""
    if name in SMALL:
        build, size = SMALL[name]
        model = build().eval()
    else:
        size = 224 if name.startswith("vit") else 96
        model = torchvision.models.get_model(name, weights=None).eval()
    model.to(memory_format=torch.channels_last)
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    x = channels_last(x)
    cuts = cut_points(model, x)
    rules = [Pooling(cut.channel_dim, 2, cut.tokens) for cut in cuts]
    found = Taps(model, cuts, range(len(cuts)), rules)(x)
    assert len(found) == len(cuts)
    for cut, rule, tapped in zip(cuts, rules, found, strict=True):
        with torch.no_grad():
            prefix = section(model, cuts, 0, cut.index)
            alone, plain = pool(folded(prefix)(x), rule), pool(prefix(x), rule)
        assert torch.equal(alone, tapped), cut.name
        assert (plain - tapped).abs().max() <= TOLERANCE * plain.abs().max(), cut.name


def test_some_taps_are_those_of_all_and_nothing_above_them_runs() -> None:
    model = torchvision.models.resnet18(weights=None).eval()
    x = torch.rand(2, 3, 64, 64)
    cuts = cut_points(model, x)
    rules = [Pooling(cut.channel_dim, 1, cut.tokens) for cut in cuts]
    every = Taps(model, cuts, range(len(cuts)), rules)(x)
    model.layer4.register_forward_hook(lambda *_: pytest.fail("layer4 ran"))
    some = Taps(model, cuts, (1, 3), (rules[1], rules[3]))(x)
    assert [torch.equal(a, every[i]) for a, i in zip(some, (1, 3), strict=True)] == [True, True]
