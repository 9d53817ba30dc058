"""Low-rank additions: nothing at first, few numbers, and merged without a trace."""

from __future__ import annotations

import copy
from functools import cache, partial

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer, get_model

from tlsweep.cut import CutPoints, block_layers, cut_points, matrices, section
from tlsweep.train.adapt import adapt, additions, merge

MODELS = ["squeezenet1_1", "mobilenet_v2", "vit", "shufflenet_v2_x0_5"]


def model_of(name: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    small = {"num_layers": 2, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 48}
    vit = partial(VisionTransformer, image_size=32, patch_size=16, **small)
    model = (vit() if name == "vit" else get_model(name, weights=None)).eval()
    x = torch.rand(2, 3, 64, 64) if name == "squeezenet1_1" else torch.rand(2, 3, 32, 32)
    return model, x


@cache
def cuts_of(name: str) -> CutPoints:
    return cut_points(*model_of(name))


def blocks_of(name: str) -> tuple[nn.Module, list[nn.Module], torch.Tensor]:
    (model, x), cuts = model_of(name), cuts_of(name)
    return model, [section(model, cuts, i, i + 1) for i in range(cuts.n_blocks)], x


def through(blocks: list[nn.Module], z: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        for block in blocks:
            z = block(z)
    return z


def grown(blocks: list[nn.Module], seed: int = 1) -> None:
    """As if trained: the additions are not nothing any more."""
    torch.manual_seed(seed)
    for block in blocks:
        for parameter in additions(block):
            with torch.no_grad():
                parameter.add_(0.05 * torch.randn_like(parameter))


@pytest.mark.parametrize("name", MODELS)
def test_an_adapted_network_starts_as_the_source_and_its_merged_one_is_the_same(name: str) -> None:
    model, blocks, x = blocks_of(name)
    plain, names = through(blocks, x), set(model.state_dict())
    before = copy.deepcopy(model.state_dict())
    adapt(blocks, range(len(blocks)), rank=4, scale=0.5, seed=0)
    assert torch.equal(through(blocks, x), plain)
    grown(blocks)
    adapted = through(blocks, x)
    assert not torch.equal(adapted, plain)
    for block in blocks:
        merge(block)
    assert torch.equal(through(blocks, x), adapted)
    assert set(model.state_dict()) == names
    assert not any(list(additions(block)) for block in blocks)
    fit = {f"{path}.{w}" for path, m in model.named_modules() for o, w in matrices(m) if o is m}
    for key, value in model.state_dict().items():
        inside = any(key in block.state_dict() for block in blocks)
        assert torch.equal(value, before[key]) != (key in fit and inside), key


@pytest.mark.parametrize("rank", [1, 3, 10_000])
@pytest.mark.parametrize("name", MODELS)
def test_additions_hold_as_many_numbers_as_was_told_before(name: str, rank: int) -> None:
    model, blocks, _ = blocks_of(name)
    told = block_layers(model, cuts_of(name))
    adapt(blocks, range(len(blocks)), rank=rank, scale=1.0, seed=0)
    for block, layers in zip(blocks, told, strict=True):
        assert sum(p.numel() for p in additions(block)) == layers.added(rank)


def test_a_change_has_the_rank_that_was_asked_for() -> None:
    layer = nn.Conv2d(6, 8, 3)
    before = layer.weight.detach().clone()
    adapt([layer], [0], rank=2, scale=3.0, seed=0)
    grown([layer])
    (one, two), weight = additions(layer), layer.weight.detach()
    change = (weight - before).flatten(1)
    assert torch.linalg.matrix_rank(change, rtol=1e-4) == 2
    assert torch.allclose(change, 3.0 * one @ two, atol=1e-6)


def test_additions_are_drawn_from_their_seed_and_leave_the_global_numbers_alone() -> None:
    drawn = []
    for seed in (0, 0, 1):
        layer = nn.Linear(5, 4)
        state = torch.get_rng_state()
        adapt([layer], [0], rank=2, scale=1.0, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        drawn.append(next(p for p in additions(layer) if p.abs().sum() > 0))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_layer_that_another_block_uses_too_stays_as_it_is() -> None:
    shared = nn.Linear(4, 4)
    blocks: list[nn.Module] = [nn.Sequential(shared, nn.Linear(4, 4)), nn.Sequential(shared)]
    adapt(blocks, [0], rank=2, scale=1.0, seed=0)
    assert len(list(additions(blocks[0]))) == 2
    assert not list(additions(blocks[1]))


def test_grouped_convolutions_norms_and_embeddings_are_not_added_to() -> None:
    block = nn.Sequential(
        nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm2d(4), nn.Embedding(3, 4), nn.LayerNorm(4)
    )
    adapt([block], [0], rank=2, scale=1.0, seed=0)
    assert not list(additions(block))
