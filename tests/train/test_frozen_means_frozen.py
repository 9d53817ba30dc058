"""Frozen means frozen: no gradient, no BatchNorm statistics, no dropout, no weight decay."""

from __future__ import annotations

import copy

import pytest
import torch
from conftest_train import CLASSES, Pairs, feed, network, settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from tlsweep.cut import folded
from tlsweep.plan import monotone
from tlsweep.schedule.base import Ending, FreezeSchedule
from tlsweep.schedule.constant import constant
from tlsweep.schedule.two_phase import two_phase
from tlsweep.train.adapt import adapt
from tlsweep.train.fit import fit
from tlsweep.train.network import PlanNetwork

SETS = [frozenset(i for i in range(3) if n >> i & 1) for n in range(8)]


@pytest.mark.parametrize("thawed", SETS, ids=lambda s: "thawed " + "".join(map(str, sorted(s))))
@pytest.mark.parametrize("batch_norm", ["source", "batch"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_no_tensor_of_a_frozen_block_changes_and_all_others_do_but_for_the_sources_statistics(
    thawed: frozenset[int], optimizer: str, batch_norm: str, images: Pairs
) -> None:
    """Two blocks are kept: the third is fresh, and its BatchNorm learns what it sees if trained."""
    net = network()
    before = copy.deepcopy(net.state_dict())
    train = settings(optimizer=optimizer, batch_norm=batch_norm)
    fit(net, FreezeSchedule((thawed,)), feed(images), train, kept=range(2), seed=0, task=CLASSES)
    for name, value in net.state_dict().items():
        part = name.split(".")
        is_frozen = part[0] == "blocks" and int(part[1]) not in thawed
        statistics = part[-1] in ("running_mean", "running_var", "num_batches_tracked")
        is_frozen |= statistics and batch_norm == "source" and int(part[1]) < 2
        if batch_norm == "batch" and name.endswith("0.bias") and int(part[1]) < 2 and not is_frozen:
            continue  # the batch's own mean takes it away again: its gradient is nothing
        assert torch.equal(value, before[name]) == is_frozen, name


@pytest.mark.parametrize("adapted", [{0}, {1}, {0, 1}, {2}, {0, 1, 2}], ids=str)
@pytest.mark.parametrize("batch_norm", ["source", "batch"])
def test_of_an_adapted_block_nothing_changes_but_its_additions(
    adapted: set[int], batch_norm: str, images: Pairs
) -> None:
    blocks = network().blocks
    adapt(blocks, adapted, rank=2, scale=1.0, seed=0)
    net = PlanNetwork(blocks, network().head, adapted)
    before = copy.deepcopy(net.state_dict())
    train = settings(batch_norm=batch_norm)
    schedule = FreezeSchedule((frozenset(adapted),))
    fit(net, schedule, feed(images), train, kept=range(3), seed=0, task=CLASSES)
    for name, value in net.state_dict().items():
        changes = name.endswith((".up", ".down")) or name.startswith("head")
        assert torch.equal(value, before[name]) != changes, name


def test_no_backward_pass_enters_a_frozen_prefix() -> None:
    net = network()
    net.thaw({2})
    net.train()
    entered = []
    for i, block in enumerate(net.blocks):
        block[0].register_full_backward_hook(lambda *_, i=i: entered.append(i))
    net(torch.rand(4, 1, 8, 8)).sum().backward()
    assert entered == [2]
    assert all(p.grad is None for b in net.blocks[:2] for p in b.parameters())


def test_freezing_drops_gradients_that_were_there() -> None:
    net = network()
    net(torch.rand(4, 1, 8, 8)).sum().backward()
    net.thaw({1, 2})
    assert all(p.grad is None for p in net.blocks[0].parameters())
    assert all(p.grad is not None for p in net.blocks[1].parameters())


def test_gradients_pass_through_frozen_blocks_above_and_reach_no_tensor_of_theirs() -> None:
    net = network()
    net.thaw({0})
    net.train()
    net(torch.rand(4, 1, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in net.blocks[0].parameters())
    assert all(p.grad is None for b in net.blocks[1:] for p in b.parameters())


@given(order=st.lists(st.sampled_from(["train", "eval", *SETS]), max_size=8))
@hypothesis_settings(max_examples=60, deadline=None)
def test_frozen_blocks_are_in_eval_mode_whatever_the_order_of_calls(
    order: list[str | frozenset[int]],
) -> None:
    net = network()
    for call in order:
        if isinstance(call, str):
            net.train(call == "train")
        else:
            net.thaw(call)
        for i, block in enumerate(net.blocks):
            if i in net.thawed:
                assert all(m.training == net.training for m in block.modules())
                assert all(p.requires_grad for p in block.parameters())
            else:
                assert not any(m.training for m in block.modules())
                assert not any(p.requires_grad for p in block.parameters())


def test_a_tensor_that_a_trained_block_shares_with_a_frozen_one_is_frozen() -> None:
    net = network()
    net.blocks[2][0] = nn.Conv2d(6, 6, 3, padding=1)
    net.blocks[1][0] = nn.Conv2d(4, 6, 3, padding=1)
    net.blocks[2][0].bias = net.blocks[1][0].bias
    net.thaw({2})
    assert not net.blocks[2][0].bias.requires_grad
    assert net.blocks[2][0].weight.requires_grad


def test_thawed_blocks_change_only_after_their_phase_begins(images: Pairs) -> None:
    net = network(dropout=0.0)
    seen: list[dict[str, torch.Tensor]] = []
    plan = monotone(0, 2, 3, 3)

    def watch(epoch: int, metrics: dict[str, float], least: int) -> bool:
        seen.append(copy.deepcopy(net.blocks[0].state_dict()))
        return False

    schedule = two_phase(plan, Ending("epochs", 2))
    fit(
        net, schedule, feed(images), settings(), kept=range(2), seed=0, task=CLASSES, on_epoch=watch
    )
    names = [name for name, _ in net.blocks[0].named_parameters()]
    assert all(torch.equal(seen[0][n], seen[1][n]) for n in names)
    assert not any(torch.equal(seen[1][n], seen[2][n]) for n in names)


@pytest.mark.parametrize("entry", [1, 2, 3])
def test_training_on_what_frozen_blocks_give_ends_as_training_through_them(
    images: Pairs, entry: int
) -> None:
    """The tolerance is that of the rounding in convolutions over other batches."""
    through, above = network(), network()
    z, y = images.tensors
    with torch.no_grad():
        for block in through.eval().blocks[:entry]:
            z = block(z)
    schedule = constant(monotone(entry, 3, 3, 3))
    first = fit(
        through.train(), schedule, feed(images), settings(), kept=range(3), seed=0, task=CLASSES
    )
    stored = feed(Pairs(z, y), entry)
    second = fit(above, schedule, stored, settings(), kept=range(3), seed=0, task=CLASSES)
    for ours, theirs in zip(first.history, second.history, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    weights = through.head.classify.weight, above.head.classify.weight
    assert torch.allclose(*weights, atol=1e-5)


def test_steady_blocks_train_everything_but_batchnorms_statistics() -> None:
    net = network()
    net.steady = frozenset({0, 1})
    net.thaw({1, 2})
    net.train()
    norms = [block[1] for block in net.blocks]
    assert [norm.training for norm in norms] == [False, False, True]
    assert [block[3].training for block in net.blocks] == [False, True, True]
    assert norms[1].weight.requires_grad


def test_steady_blocks_train_as_they_would_without_being_folded(
    images: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To rounding; modes are followed, though Lightning sets them module by module."""
    schedule = constant(monotone(0, 3, 3, 3))
    quick, plain, changed = network(), network(), []

    def fold(block: nn.Module, trains: bool = False) -> nn.Module:
        quicker = folded(block, trains=trains)
        changed.append(trains and quicker is not block)
        return quicker

    monkeypatch.setattr("tlsweep.train.network.folded", fold)
    first = fit(quick, schedule, feed(images), settings(), kept=range(3), seed=0, task=CLASSES)
    assert any(changed)
    monkeypatch.setattr("tlsweep.train.network.folded", lambda block, trains=False: block)
    second = fit(plain, schedule, feed(images), settings(), kept=range(3), seed=0, task=CLASSES)
    for ours, theirs in zip(first.history, second.history, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
