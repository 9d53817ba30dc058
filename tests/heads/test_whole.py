"""Heads that read tokens or maps whole: right values, and nothing of what is not there."""

from __future__ import annotations

import pytest
import torch

from tlsweep.errors import Refusal
from tlsweep.heads.head import Head, Pooling

KINDS = ("attention", "conv", "lstm")
RULE = Pooling(2, 2)
DRAW = torch.Generator().manual_seed(0)
Z_BTC = torch.randn(4, 9, 5, generator=DRAW)


def head(kind: str, shape: tuple[int, ...] = (9, 5), rule: Pooling = RULE) -> Head:
    torch.manual_seed(1)
    made = Head(shape, rule, 3, kind=kind)
    with torch.no_grad():  # a query of zeros would weigh all tokens alike
        for weight in made.parameters():
            weight.normal_(std=0.5, generator=torch.Generator().manual_seed(2))
    made.mean.fill_(0.7)
    made.scale.fill_(1.3)
    return made.eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("places", [(0, 1, 2, 3), (5, 6, 7, 8), (1, 2, 5, 8), (4,)])
def test_a_text_is_answered_as_the_same_text_without_what_a_mask_leaves_out(
    kind: str, places: tuple[int, ...]
) -> None:
    mask = torch.zeros(4, 9, dtype=torch.bool)
    mask[:, list(places)] = True
    z, made = torch.where(mask[..., None], Z_BTC, torch.nan), head(kind)
    wanted = made(Z_BTC[:, list(places)])
    torch.testing.assert_close(made(z, {"mask": mask}), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_without_tokens_is_answered_as_the_last_layer_answers_zeros(kind: str) -> None:
    made, mask = head(kind), torch.zeros(4, 9, dtype=torch.bool)
    outputs = made(torch.full_like(Z_BTC, torch.nan), {"mask": mask})
    assert torch.equal(outputs, made.classify.last.bias.expand(4, 3))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_filled_up_has_no_part_in_training_either(kind: str) -> None:
    made, mask = head(kind), (torch.arange(9) < 4).expand(4, 9)
    z = torch.where(mask[..., None], Z_BTC, torch.nan).requires_grad_()
    made(z, {"mask": mask}).square().sum().backward()
    assert z.grad is not None
    assert not z.grad[:, 4:].any()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


def test_attention_weighs_tokens_by_the_softmax_of_how_they_fit_its_query() -> None:
    made = head("attention")
    z_btc = (Z_BTC - 0.7) * 1.3
    weight_bt = torch.softmax((z_btc * made.classify.query).sum(2) / 5**0.5, 1)
    pooled_bc = torch.einsum("bt,btc->bc", weight_bt, z_btc)
    torch.testing.assert_close(made(Z_BTC), made.classify.last(pooled_bc))


def test_a_new_attention_begins_as_the_mean() -> None:
    made = Head((9, 5), RULE, 3, kind="attention")
    torch.testing.assert_close(made(Z_BTC), made.classify.last(Z_BTC.mean(1)))


def test_conv_takes_the_most_of_each_filter_over_windows_of_three_tokens() -> None:
    made, z_btc = head("conv"), (Z_BTC - 0.7) * 1.3
    weight_fcw, bias_f = made.classify.filters.weight, made.classify.filters.bias
    padded = torch.nn.functional.pad(z_btc, (0, 0, 1, 1))
    found = [torch.einsum("bwc,fcw->bf", padded[:, t : t + 3], weight_fcw) for t in range(9)]
    best_bf = (torch.stack(found).amax(0) + bias_f).clamp_min(0)
    torch.testing.assert_close(made(Z_BTC), made.classify.last(best_bf), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channel_dim", [1, 3])
def test_conv_averages_each_filter_over_a_map(channel_dim: int) -> None:
    maps = torch.randn(2, 4, 6, 5, generator=DRAW)
    given = maps.movedim(1, channel_dim)
    made = head("conv", tuple(given.shape[1:]), Pooling(channel_dim, 2))
    found = made.classify.filters((maps - 0.7) * 1.3).relu().mean((2, 3))
    torch.testing.assert_close(made(given), made.classify.last(found))


def test_lstm_is_torchs_own_that_reads_both_ways() -> None:
    made = head("lstm")
    both = torch.nn.LSTM(5, 64, batch_first=True, bidirectional=True)
    own = made.classify
    both.load_state_dict({
        **own.forwards.state_dict(),
        **{f"{name}_reverse": weight for name, weight in own.backwards.state_dict().items()},
    })  # fmt: skip
    lengths = torch.tensor([9, 4, 1, 6])
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        (Z_BTC - 0.7) * 1.3, lengths, batch_first=True, enforce_sorted=False
    )
    (forwards, backwards) = both(packed)[1][0]
    outputs = made(Z_BTC, {"mask": torch.arange(9) < lengths[:, None]})
    torch.testing.assert_close(outputs, own.last(torch.cat([forwards, backwards], 1)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_channel_is_standardised_by_the_tokens_that_are_there(kind: str) -> None:
    made, mask = head(kind), torch.tensor([[True] * 3 + [False] * 6, [True] * 9])
    z = torch.where(mask[..., None], Z_BTC[:2], 1e6)
    made.calibrate([made.features(z, {"mask": mask})])
    there = torch.cat([Z_BTC[0, :3], Z_BTC[1]])
    torch.testing.assert_close(made.mean, there.mean(0))
    torch.testing.assert_close(made.scale, 1 / there.std(0, unbiased=False))


def refused(kind: str, shape: tuple[int, ...], rule: Pooling = RULE) -> Refusal:
    with pytest.raises(Refusal) as caught:
        Head(shape, rule, 3, kind=kind)
    return caught.value


def test_a_head_is_refused_by_name_where_it_cannot_stand() -> None:
    (fault,) = refused("lstm", (5, 4, 4), Pooling(1, 2)).faults
    assert fault.value == "train.head=lstm on 5x4x4: maps"
    assert fault.rule == "this head reads tokens, before they are pooled"
    assert fault.mend == "train.head=linear or train.head=mlp or train.head=conv"
    (fault,) = refused("conv", (5,)).faults
    assert fault.value == "train.head=conv on 5: features, pooled already"
    (fault,) = refused("attention", (9,), Pooling(1, 2, bag=8)).faults
    assert fault.value == "train.head=attention on 9: texts as they are read"
