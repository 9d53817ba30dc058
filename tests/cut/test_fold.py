"""A part with its BatchNorm folded computes the same function, and the part stays as it was."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import networks
import pytest
import torch
import torchvision
from torch import Tensor, nn

from tlsweep.cut import CutPoints, cut_points, folded, section
from tlsweep.cut.fold import TOLERANCE

# model: BatchNorms, and how many of them follow no convolution (DenseNet norms before it convolves)
MODELS = {
    "resnet18": (20, 0),
    "mobilenet_v2": (52, 0),
    "shufflenet_v2_x0_5": (56, 0),
    "efficientnet_b0": (49, 0),
    "densenet121": (121, 62),
    "vit_b_16": (0, 0),
}
HALF = 0.05  # of the spread of an output in bfloat16, which has 8 bits; both ways round


REAL = Path(
    os.environ.get("TLSWEEP_REAL_DATA") or Path(__file__).parents[3] / "shared" / "data"
).resolve()
WEIGHTS = REAL / "weights" / "mobilenet_v2_imagenet.pt"


def opened(name: str) -> tuple[nn.Module, Tensor, CutPoints]:
    torch.manual_seed(0)
    options = {"image_size": 64} if name == "vit_b_16" else {}
    with torch.no_grad():
        model = networks.unlike_fresh(torchvision.models.get_model(name, weights=None, **options))
    x = torch.rand(2, 3, 64, 64)
    return model, x, cut_points(model, x)


def large_later(name: str) -> Any:
    """The large ones run with the slow tests."""
    large = name in ("densenet121", "efficientnet_b0", "vit_b_16")
    return pytest.param(name, marks=pytest.mark.slow if large else ())


def norms(part: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in part.modules())


@torch.no_grad()
def compared(model: nn.Module, x: Tensor, cuts: CutPoints) -> tuple[int, int]:
    """Block after block, so that errors add up as in a pass; norms before folding and after."""
    z = quick = x
    found = left = 0
    for index in range(cuts.n_blocks):
        part = section(model, cuts, index, index + 1)
        other = folded(part)
        found, left = found + norms(part), left + norms(other)
        z, quick = part(z), other(quick)
        assert (z - quick).abs().max() <= TOLERANCE * z.abs().max(), cuts[index + 1].name
    return found, left


@pytest.mark.parametrize("name", [large_later(name) for name in MODELS])
def test_every_cut_point_of_a_folded_model_is_where_it_was(name: str) -> None:
    """To ``TOLERANCE`` of the largest value."""
    assert compared(*opened(name)) == MODELS[name]


@pytest.mark.real
@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"no real data in {REAL} (TLSWEEP_REAL_DATA)")
def test_trained_weights_fold_within_the_tolerance_too() -> None:
    model = torchvision.models.mobilenet_v2(weights=None).eval()
    model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    x = torch.randn(8, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    cuts = cut_points(model, x)
    assert compared(model, x, cuts) == MODELS["mobilenet_v2"]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", large_later("densenet121")])
@torch.no_grad()
def test_in_half_precision_a_folded_part_is_as_near_to_the_truth_as_the_part_is(name: str) -> None:
    model, x, cuts = opened(name)
    prefix = section(model, cuts, 0, cuts.n_blocks)
    truth = prefix(x)
    with torch.autocast("cpu", torch.bfloat16):
        plain, quick = prefix(x).float(), folded(prefix)(x).float()
    off, off_folded = ((z - truth).square().mean().sqrt() / truth.std() for z in (plain, quick))
    assert off_folded <= max(1.5 * off, HALF)


def test_the_part_keeps_its_tensors_modules_and_modes() -> None:
    model, x, cuts = opened("mobilenet_v2")
    part = section(model, cuts, 0, 4)
    modules, before = list(part.modules()), copy.deepcopy(part.state_dict())
    with torch.no_grad():
        expected = part(x)
    part.train()
    quick = folded(part)
    quick(x)
    assert all(module.training for module in part.modules())
    assert not any(module.training for module in quick.modules())
    part.eval()
    assert list(part.modules()) == modules
    assert all(torch.equal(value, before[key]) for key, value in part.state_dict().items())
    with torch.no_grad():
        assert torch.equal(part(x), expected)
    assert not any(p.requires_grad for p in quick.parameters() if p.grad_fn is not None)


def _steady(part: nn.Module) -> nn.Module:
    """In training mode, with BatchNorm that keeps its statistics."""
    part.train()
    for module in part.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return part


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", large_later("densenet121")])
def test_a_part_that_is_folded_in_each_pass_trains_as_it_would(name: str) -> None:
    """The same tensors, the same gradients, to the tolerance of folding; in double precision."""
    model, x, cuts = opened(name)
    part = _steady(section(model, cuts, 0, 3).double())
    quick = folded(part, trains=True)
    assert quick is not part
    own = dict(part.named_parameters())
    assert {id(p) for p in quick.parameters()} == {id(p) for p in own.values()}
    before = {key: value.clone() for key, value in part.named_buffers()}
    gradients = []
    for run in (part, quick):
        part.zero_grad()
        run(x.double()).square().mean().backward()
        gradients.append({key: p.grad.clone() for key, p in own.items() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() == own.keys()
    for key, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], expected, rtol=1e-7, atol=1e-12)
    assert all(torch.equal(value, before[key]) for key, value in part.named_buffers())


class _Net(nn.Module):
    """One convolution, one norm; ``kind`` says what else happens to them."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3, track_running_stats=kind != "no statistics")
        self.other = self.conv if kind == "shared" else nn.Conv2d(3, 3, 1)
        if kind == "hook":
            self.conv.register_forward_hook(lambda module, args, output: output + 1)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, 3, height, width] to the same shape."""
        if self.kind == "norm of the input":
            return self.conv(self.norm(x))
        z = self.conv(x)
        if self.kind == "read twice":
            return self.norm(z) + z
        if self.kind == "weight read":
            return self.norm(z) * self.conv.weight.mean()
        if self.kind == "called twice":
            return self.norm(self.conv(z))
        return self.other(self.norm(z.relu() if self.kind == "between" else z))


KINDS = (
    "read twice", "weight read", "called twice", "between", "shared", "hook", "no statistics",
    "norm of the input",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_norm_that_cannot_be_folded_stays(kind: str) -> None:
    torch.manual_seed(0)
    net = networks.unlike_fresh(_Net(kind))
    x = torch.rand(2, 3, 8, 8)
    quick = folded(net)
    assert quick is net
    assert torch.equal(quick(x), net(x))


@torch.no_grad()
def test_a_cut_between_convolution_and_norm_stays_exact() -> None:
    model = networks.unlike_fresh(torchvision.models.resnet18(weights=None))
    x = torch.rand(2, 3, 64, 64)
    cuts = cut_points(model, x, level="fine")
    (between,) = [cut for cut in cuts if cut.name == "conv1"]
    below, above = section(model, cuts, 0, between), section(model, cuts, between, cuts.n_blocks)
    assert torch.equal(folded(below)(x), below(x))
    z = below(x)
    expected = above(z)
    assert (folded(above)(z) - expected).abs().max() <= TOLERANCE * expected.abs().max()


@torch.no_grad()
def test_what_cannot_be_traced_is_run_as_it_is() -> None:
    class Branches(_Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if bool(x.sum() > 0) else x

    net = networks.unlike_fresh(Branches("plain"))
    assert folded(net) is net
