"""Which tokens of a cut point are pooled: those that the model itself pools."""

from __future__ import annotations

import copy
import pickle

import networks
import pytest
import torch
from torch import nn

from tlsweep.cut import CutPoints, Level, cut_points, section
from tlsweep.heads.head import Pooling, pool

EXAMPLE = torch.empty(2, 3, 16, 12)  # 4 x 3 patches
PATCHES = tuple(range(1, 13))
LEVELS = pytest.mark.parametrize("level", ["block", "fine"])


def tokens_of(model: nn.Module, level: Level = "block") -> dict[str, tuple[int, ...] | None]:
    return {cut.name: cut.tokens for cut in cut_points(model, EXAMPLE, level=level)}


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    from torchvision.models import get_model

    return get_model("vit_b_32", weights=None, image_size=64).eval()


@LEVELS
def test_a_vision_transformers_layers_pool_the_class_token(vit: nn.Module, level: Level) -> None:
    cuts = cut_points(vit, torch.empty(1, 3, 64, 64), level=level)
    first = cuts.resolve("encoder.layers.encoder_layer_0").index
    for cut in cuts[first:]:
        assert cut.tokens == ((0,) if len(cut.shape) == 2 else None), cut.name


@LEVELS
def test_a_class_token_that_no_attention_has_reached_is_not_pooled_alone(
    vit: nn.Module, level: Level
) -> None:
    """It is the same for all images there, and no head could tell them apart."""
    x = torch.rand(2, 3, 64, 64)
    cuts = cut_points(vit, x, level=level)
    of_tokens = [cut for cut in cuts if len(cut.shape) == 2]
    assert any(cut.shape == (5, 768) and cut.tokens is None for cut in of_tokens)
    for cut in of_tokens:
        with torch.no_grad():
            z = section(vit, cuts, 0, cut.index)(x)
        a, b = pool(z, Pooling(cut.channel_dim, 1, cut.tokens))
        assert not torch.equal(a, b), cut.name
        if cut.shape == (5, 768):
            assert torch.equal(z[0, 0], z[1, 0]) == (cut.tokens is None), cut.name


def test_before_the_class_token_is_put_in_all_tokens_are_averaged() -> None:
    found = tokens_of(networks.LateClassToken())
    assert found == {"input": None, "patches": None, "first": None, "second": (0,), "pooled": None}


@LEVELS
@pytest.mark.parametrize("kind", [networks.MeanOfTokens, networks.MaximumOfTokens])
def test_a_model_that_pools_all_its_tokens_has_them_averaged(
    kind: type[nn.Module], level: Level
) -> None:
    assert set(tokens_of(kind(), level).values()) == {None}


def test_a_model_that_averages_its_patches_has_the_class_token_left_out() -> None:
    cuts = cut_points(networks.MeanOfPatches(), EXAMPLE)
    assert [(cut.shape, cut.tokens) for cut in cuts[1:4]] == [
        ((13, 4), PATCHES),
        ((13, 4), PATCHES),
        ((12, 4), None),  # the model has dropped it by then
    ]


def test_tokens_that_are_far_apart_are_pooled_alone() -> None:
    assert tokens_of(networks.FirstAndLast())["second"] == (0, 12)


@pytest.mark.parametrize("kind", [networks.BranchAtZero, networks.ScoresEveryToken])
def test_weights_that_are_zero_at_first_hide_no_token(kind: type[nn.Module]) -> None:
    found = tokens_of(kind())
    assert found["first"] == found["second"] == (0,)


def test_what_becomes_a_map_again_is_averaged() -> None:
    assert set(tokens_of(networks.BackToAMap()).values()) == {None}


def test_a_model_of_maps_has_no_tokens_to_choose() -> None:
    assert set(tokens_of(networks.Small(), "fine").values()) == {None}


def test_without_values_all_tokens_are_averaged() -> None:
    with torch.device("meta"):
        model, example = networks.Tokens(), torch.empty(2, 3, 16, 12)
    assert {cut.tokens for cut in cut_points(model, example)} == {None}


def test_where_the_model_fails_all_tokens_are_averaged_with_a_warning() -> None:
    with pytest.warns(RuntimeWarning, match=r"heads average all .*numbers, please"):
        assert set(tokens_of(networks.TakesNumbers()).values()) == {None}


def test_the_class_token_pooled_last_is_what_the_model_itself_pools(vit: nn.Module) -> None:
    """Bit for bit: the last layer's cut point lies after the last norm."""
    x = torch.rand(3, 3, 64, 64)
    cuts = cut_points(vit, x)
    last = cuts[-2]
    with torch.no_grad():
        z = section(vit, cuts, 0, last.index)(x)
        own = section(vit, cuts, 0, cuts[-1].index)(x)
        logits = vit(x)
    pooled = pool(z, Pooling(last.channel_dim, 2, last.tokens))
    assert torch.equal(pooled, own)
    assert torch.equal(vit.heads(pooled), logits)


@pytest.mark.parametrize("kind", [networks.Tokens, networks.MeanOfPatches, networks.FirstAndLast])
def test_other_weights_have_the_same_tokens_pooled(kind: type[nn.Module]) -> None:
    assert len({tuple(tokens_of(kind()).items()) for _ in range(3)}) == 1


@pytest.mark.parametrize("kind", [networks.Tokens, networks.KeepsAMean])
def test_looking_for_tokens_leaves_the_model_and_the_random_numbers_as_they_were(
    kind: type[nn.Module],
) -> None:
    model = kind().train()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with torch.no_grad():
        assert tokens_of(model)["second"] == (0,)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())


def test_tokens_survive_pickling() -> None:
    cuts = cut_points(networks.Tokens(), EXAMPLE)
    again: CutPoints = pickle.loads(pickle.dumps(cuts))
    assert [cut.tokens for cut in again] == [cut.tokens for cut in cuts]
    assert again[-2].tokens == (0,)
