"""What a head makes of activations before it classifies them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tlsweep.errors import Refusal
from tlsweep.heads.dropout import drop_before_last
from tlsweep.heads.head import LAST, Head, Pooling, pool

Z_BTC = torch.rand(3, 7, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tokens", [(0,), (6,), (1, 2, 3), (0, 1, 5), tuple(range(1, 7))])
@pytest.mark.parametrize("channel_dim", [1, 2])
def test_chosen_tokens_are_averaged_and_no_other_gets_a_gradient(
    tokens: tuple[int, ...], channel_dim: int
) -> None:
    z_btc = Z_BTC.clone().requires_grad_()
    pooled = pool(z_btc.movedim(2, channel_dim), Pooling(channel_dim, 2, tokens))
    torch.testing.assert_close(pooled, z_btc[:, list(tokens)].mean(1))
    pooled.sum().backward()
    assert z_btc.grad is not None
    read = z_btc.grad.ne(0).all(2).all(0)
    assert read.nonzero().flatten().tolist() == list(tokens)


def test_one_token_is_itself_and_holds_no_memory_of_the_others() -> None:
    pooled = pool(Z_BTC, Pooling(2, 2, (4,)))
    assert torch.equal(pooled, Z_BTC[:, 4])
    assert pooled.untyped_storage().nbytes() == pooled.nbytes


def test_no_choice_of_tokens_is_their_mean() -> None:
    assert torch.equal(pool(Z_BTC, Pooling(2, 2)), Z_BTC.mean(1))


def test_maps_are_averaged_to_a_grid_and_vectors_stay_as_they_are() -> None:
    maps = torch.rand(2, 3, 4, 4)
    assert pool(maps, Pooling(1, 2)).shape == (2, 12)
    assert pool(maps, Pooling(1, 16)).shape == (2, 48)
    assert pool(maps, Pooling(3, 1)).shape == (2, 4)
    assert torch.equal(pool(maps[:, :, 0, 0], Pooling(1, 2)), maps[:, :, 0, 0])


MASK = torch.arange(7) < torch.tensor([[7], [3], [0]])


@pytest.mark.parametrize("channel_dim", [1, 2])
def test_tokens_that_a_mask_leaves_out_do_not_count(channel_dim: int) -> None:
    z_btc = torch.where(MASK[..., None], Z_BTC, torch.nan).movedim(2, channel_dim)
    pooled = pool(z_btc, Pooling(channel_dim, 2), {"mask": MASK})
    assert torch.equal(pooled[2], torch.zeros(5))  # of a text without tokens
    torch.testing.assert_close(pooled[0], Z_BTC[0].mean(0))
    torch.testing.assert_close(pooled[1], Z_BTC[1, :3].mean(0))


def test_a_chosen_token_is_read_whatever_the_mask() -> None:
    side = {"mask": MASK}
    assert torch.equal(pool(Z_BTC, Pooling(2, 2, (0,)), side), Z_BTC[:, 0])


def test_tokens_as_they_are_read_are_counted_by_kind() -> None:
    tokens = torch.tensor([[1, 1, 2, 0], [7, 3, 0, 0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    bag = pool(tokens, Pooling(1, 2, bag=4), {"mask": mask})
    assert bag.tolist() == [[0.25, 0.5, 0.25, 0], [0, 0, 0, 1]]  # 7 falls in with 3
    assert pool(tokens, Pooling(1, 2, bag=4))[1].tolist() == [0.5, 0, 0, 0.5]


@pytest.mark.parametrize("channel_dim", [1, 2])
def test_the_last_token_is_the_last_that_is_there(channel_dim: int) -> None:
    rule, z = Pooling(channel_dim, 2, LAST), torch.where(MASK[..., None], Z_BTC, torch.nan)
    pooled = pool(z.movedim(2, channel_dim), rule, {"mask": MASK})
    wanted = torch.stack([Z_BTC[0, 6], Z_BTC[1, 2], torch.zeros(5)])  # none is there in the third
    assert torch.equal(pooled, wanted)
    assert torch.equal(pool(Z_BTC.movedim(2, channel_dim), rule), Z_BTC[:, 6])


# ---------------------------------------------------------------------- hidden layers, dropout
KINDS = {"linear": (5,), "mlp": (5,), "attention": (7, 5), "conv": (5, 4, 4), "lstm": (7, 5)}


def head(kind: str, **how: Any) -> Head:
    torch.manual_seed(0)
    return Head(KINDS[kind], Pooling(1 if kind == "conv" else 2, 2), 3, kind=kind, **how)


def test_the_hidden_layers_of_an_mlp_are_as_wide_as_asked() -> None:
    def shapes(**how: Any) -> list[tuple[int, ...]]:
        return [tuple(p.shape) for p in head("mlp", **how).parameters() if p.ndim == 2]

    assert shapes(sizes=(512, 64)) == [(512, 5), (64, 512), (3, 64)]
    assert shapes() == shapes(sizes=(128,)) == [(128, 5), (3, 128)]
    assert head("linear", sizes=(512,)).sizes is None  # it has none


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_acts_in_training_alone_and_changes_no_weight(kind: str) -> None:
    plain, dropping = head(kind), head(kind, dropout=0.5)
    z = torch.randn(64, *KINDS[kind])
    assert list(dropping.state_dict()) == list(plain.state_dict())
    assert torch.equal(dropping.eval()(z), plain.eval()(z))
    assert not torch.equal(dropping.train()(z), plain.train()(z))
    own = [m for m in dropping.modules() if isinstance(m, torch.nn.Linear)][-1]
    with torch.no_grad():  # all of it but the bias is dropped, or doubled: 0 on average
        own.weight.fill_(1)
        own.bias.fill_(7)
        given = torch.ones(20_000, own.in_features)
        answered = own(given)
    assert float(answered.mean()) == pytest.approx(7 + own.in_features, rel=0.02)
    assert float(answered.var()) == pytest.approx(own.in_features, rel=0.1)  # 4 p (1 - p) each


def test_dropout_of_all_but_nothing_leaves_the_last_layers_bias() -> None:
    made = head("mlp", dropout=0.999_999).train()
    outputs = made(torch.randn(8, 5))
    assert torch.equal(outputs, made.classify[-1].bias.expand(8, 3))


def test_dropout_is_refused_for_layers_without_a_last_linear_one() -> None:
    with pytest.raises(Refusal) as caught:
        drop_before_last(torch.nn.ReLU(), 0.5, "odd")
    assert caught.value.faults[0].value == "train.dropout=0.5"
