"""A batch that is taken in parts: the same steps as with the whole of it."""

from __future__ import annotations

import pytest
import torch
from conftest_train import CLASSES, Pairs, feed, network, settings
from pydantic import ValidationError

from tlsweep.plan import monotone
from tlsweep.schedule.constant import constant
from tlsweep.train.fit import fit
from tlsweep.train.settings import PARTS_RULE

PLAN = monotone(0, 3, 3, 3)


def trained(images: Pairs, **changes: object) -> tuple[torch.Tensor, list[float]]:
    """All weights, and the loss of each epoch."""
    net = network(dropout=0.0)  # masks are drawn anew for each part
    train = settings(settle=False, **changes)
    found = fit(net, constant(PLAN), feed(images), train, kept=range(3), seed=0, task=CLASSES)
    weights = torch.cat([p.detach().flatten() for p in net.parameters()])
    return weights, [epoch["fit_loss"] for epoch in found.history]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("n", [32, 40, 38, 35])  # the last batch is whole, or lacks parts
def test_parts_add_up_to_the_gradient_of_their_batch(images: Pairs, optimizer: str, n: int) -> None:
    some = Pairs(*(tensor[:n] for tensor in images.tensors))
    asked = {"optimizer": optimizer, "batch_size": 16}
    whole, losses = trained(some, **asked)
    for parts in (2, 4):
        found, their_losses = trained(some, **asked, accumulate=parts)
        torch.testing.assert_close(found, whole, rtol=1e-3, atol=1e-4)
        assert their_losses == pytest.approx(losses, rel=1e-3)


def test_a_batch_that_has_no_such_parts_is_refused() -> None:
    with pytest.raises(ValidationError, match=PARTS_RULE):
        settings(batch_size=6, accumulate=4)


def test_a_batch_is_halved_until_a_part_has_two_examples() -> None:
    train, seen = settings(batch_size=16), []
    while (halved := train.halved()) is not None:
        train = halved
        seen.append((train.accumulate, train.passed))
    assert seen == [(2, 8), (4, 4), (8, 2)]
    assert settings(batch_size=6, accumulate=2).halved() is None  # three in a part
