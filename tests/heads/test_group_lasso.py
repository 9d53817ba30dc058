"""The group lasso takes the features that it should, and ends at its optimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import MultiTaskLasso
from torch import Tensor
from torch.nn import functional

from tlsweep.heads.group_lasso import LINKS, group_lasso, relevance


def features(n: int, d: int) -> Tensor:
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(n + d)).double()
    return (z - z.mean(0)) / z.std(0)


ALIKE = torch.ones(80, 1).double()


@pytest.mark.parametrize("d", [20, 200])  # fewer features than examples, and more
def test_for_numbers_it_is_scikit_learns_lasso_of_several_targets(d: int) -> None:
    z = features(80, d)
    t = z[:, :3] @ torch.tensor([[2.0, 0], [1, -1], [0, 1.5]]).double() + 4
    theirs = MultiTaskLasso(alpha=0.2, tol=1e-10, max_iter=100_000).fit(z.numpy(), t.numpy())
    weight, bias = group_lasso(z, t, "numbers", 0.2, ALIKE, steps=3000)
    np.testing.assert_allclose(weight.T, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(bias, theirs.intercept_, atol=1e-5)


@pytest.mark.parametrize("kind", ["classes", "labels"])
@pytest.mark.parametrize("weighted", [False, True])
def test_at_its_optimum_each_feature_taken_is_pulled_as_hard_as_the_penalty(
    kind: str, weighted: bool
) -> None:
    """And no other harder: the conditions of Karush, Kuhn and Tucker."""
    z, y = features(80, 120), torch.arange(80) % 3
    z[:, :3] += functional.one_hot(y, 3)
    t = functional.one_hot(y, 3).double()
    w = ALIKE if not weighted else (1.0 + (y == 0).double())[:, None]
    weight, bias = group_lasso(z, t, kind, 0.05, w, steps=3000)
    off = w * (LINKS[kind][0](z @ weight + bias) - t)
    slope, size = z.T @ off / 80, weight.norm(dim=1, keepdim=True)
    taken = size[:, 0] > 0
    assert 3 <= int(taken.sum()) < 60
    wanted = -0.05 * weight[taken] / size[taken]
    torch.testing.assert_close(slope[taken], wanted, rtol=1e-4, atol=1e-5)
    assert float(slope[~taken].norm(dim=1).max()) <= 0.05 + 1e-6
    assert float(off.sum(0).abs().max()) < 1e-3  # the bias is free


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_the_features_that_tell_come_first_and_all_have_a_place(kind: str) -> None:
    z, y = features(90, 300).float(), torch.arange(90) % 3
    t = functional.one_hot(y, 3).double()
    z[:, [7, 100, 250]] += 2 * t.float()
    t = t * torch.tensor([1.0, 1.0, 1e4]).double() if kind == "numbers" else t
    counts = relevance(z, t, kind)
    order = counts.argsort(descending=True).tolist()
    assert set(order[:3]) == {7, 100, 250}
    assert float(counts.min()) >= 0
    assert int((counts > 0).sum()) == 300  # those that are left out by how near they are
