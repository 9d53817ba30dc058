"""Many heads at once end where one at a time ends, and where scikit-learn ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor
from torch.nn import functional

from tlsweep.heads.lbfgs import minimise
from tlsweep.heads.logistic import batches, fit_labels, fit_logistic, fit_side_by_side
from tlsweep.heads.ridge import fit_ridge

PENALTIES = [1e-4, 1e-3, 1e-2, 1e-1]


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Standardised pixels [1797, 64] and classes."""
    x, y = load_digits(return_X_y=True)
    z = torch.from_numpy(x).float()
    return (z - z.mean(0)) / z.std(0).clamp_min(0.5), torch.from_numpy(y)


def wide(n: int, d: int) -> tuple[Tensor, Tensor]:
    """More features than examples, three classes, some features constant or repeated."""
    generator = torch.Generator().manual_seed(n + d)
    y = torch.arange(n) % 3
    z = torch.randn(n, d, generator=generator) + 0.7 * functional.one_hot(y, d)
    z[:, -1], z[:, -2] = 0, z[:, 0]
    return z, y


def objective(z: Tensor, y: Tensor, weight: Tensor, bias: Tensor, penalty: float) -> float:
    loss = functional.cross_entropy(z.double() @ weight.double() + bias.double(), y)
    return float(loss + penalty / 2 * weight.double().square().sum())


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_each_head_reaches_scikit_learns_optimum(
    digits: tuple[Tensor, Tensor], shape: str, penalty: float
) -> None:
    z, y = (digits[0][:400], digits[1][:400]) if shape == "tall" else wide(60, 200)
    k = int(y.max()) + 1
    heads = fit_logistic(z, y, k, PENALTIES)
    i = PENALTIES.index(penalty)
    theirs = LogisticRegression(C=1 / (len(z) * penalty), max_iter=10_000, tol=1e-8)
    theirs.fit(z.double().numpy(), y.numpy())
    best = objective(
        z, y, torch.from_numpy(theirs.coef_.T), torch.from_numpy(theirs.intercept_), penalty
    )
    ours = objective(z, y, heads.weight[i], heads.bias[i], penalty)
    assert heads.converged[i]
    assert -1e-6 < ours - best < 1e-4  # nats; GAP is an estimate of it


@pytest.mark.parametrize("n", [1_500, 900])  # more examples than words that occur, and fewer
def test_counts_of_many_words_of_which_some_never_occur_reach_scikit_learns_optimum(
    n: int,
) -> None:
    """They are not rotated; words that never occur have no weight."""
    generator = torch.Generator().manual_seed(n)
    y, words = torch.arange(n) % 3, 1_400
    rates = torch.rand(3, words, generator=generator).pow(4) * 0.02
    rates[:, 1_100:] = 0
    z = torch.bernoulli(rates[y], generator=generator)
    z = (z - z.mean(0)) / z.std(0).clamp_min(0.05)
    heads = fit_logistic(z, y, 3, [1e-2])
    theirs = LogisticRegression(C=1 / (n * 1e-2), max_iter=10_000, tol=1e-8)
    theirs.fit(z.double().numpy(), y.numpy())
    own = torch.from_numpy(theirs.coef_.T), torch.from_numpy(theirs.intercept_)
    assert heads.converged.all()
    ours = objective(z, y, heads.weight[0], heads.bias[0], 1e-2)
    assert -1e-6 < ours - objective(z, y, *own, 1e-2) < 1e-4
    assert not heads.weight[0, 1_100:].any()


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_head_of_each_label_reaches_scikit_learns_optimum(penalty: float) -> None:
    """Two sets of features, two subsets of the examples, three labels that are not alike."""
    z, y = wide(90, 20)
    labels = torch.stack([y == 0, (z[:, 3] > 0) | (y == 1), torch.arange(90) < 8], dim=1)
    subsets = torch.ones(2, 90)
    subsets[1, 60:] = 0
    sets = [z, z[:, :7]]
    for own, heads in zip(sets, fit_labels(sets, labels, PENALTIES, subsets), strict=True):
        assert heads.weight.shape == (2 * len(PENALTIES), own.shape[1], 3)
        for s, rows in enumerate((slice(None), slice(60))):
            place = 2 * PENALTIES.index(penalty) + s
            assert heads.converged[place]
            for label in range(3):
                x, true = own[rows].double(), labels[rows, label]
                theirs = LogisticRegression(C=1 / (len(x) * penalty), max_iter=10_000, tol=1e-9)
                theirs.fit(x.numpy(), true.numpy())

                def worth(weight: Tensor, bias: Tensor, x: Tensor = x, t: Tensor = true) -> float:
                    z = x @ weight.double() + bias.double()
                    loss = functional.binary_cross_entropy_with_logits(z, t.double())
                    return float(loss + penalty / 2 * weight.double().square().sum())

                best = worth(torch.from_numpy(theirs.coef_[0]), torch.tensor(theirs.intercept_))
                ours = worth(heads.weight[place, :, label], heads.bias[place, label])
                assert -1e-6 < ours - best < 1e-4


@pytest.mark.parametrize("small", [0, 10**12])  # subsets begin where all examples ended, or not
def test_heads_that_share_their_evaluations_equal_heads_alone(
    digits: tuple[Tensor, Tensor], small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlsweep.heads.logistic.SMALL", small)
    z, y = digits[0][:300], digits[1][:300]
    subsets = torch.ones(2, 300)
    subsets[1, 100:] = 0
    together = fit_logistic(z, y, 10, PENALTIES, subsets, gap=1e-8)
    for i, penalty in enumerate(PENALTIES):
        for s in range(2):
            rows = subsets[s] > 0
            alone = fit_logistic(z[rows], y[rows], 10, [penalty], gap=1e-8)
            shared = together.weight[2 * i + s], together.bias[2 * i + s]
            a = objective(z[rows], y[rows], *shared, penalty)
            b = objective(z[rows], y[rows], alone.weight[0], alone.bias[0], penalty)
            assert a == pytest.approx(b, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    widths=st.lists(st.integers(1, 60), min_size=1, max_size=4), n=st.integers(12, 40),
    k=st.integers(2, 5), seed=st.integers(0, 2**16), cells=st.sampled_from([50, 500, 10**6]),
)  # fmt: skip
def test_heads_of_several_sets_of_features_equal_those_of_each_alone(
    widths: list[int], n: int, k: int, seed: int, cells: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    sets, y = [torch.randn(n, d, generator=generator) for d in widths], torch.arange(n) % k
    subsets = torch.rand(2, n, generator=generator) < 0.8
    subsets[:, :k] = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlsweep.heads.logistic.CELLS", cells)  # heads of one set may be parted
        beside = fit_side_by_side(sets, y, k, PENALTIES, subsets)
    for z, found in zip(sets, beside, strict=True):
        assert found.weight.shape == (2 * len(PENALTIES), z.shape[1], k)
        assert found.converged.all()
        alone = fit_logistic(z, y, k, PENALTIES, subsets)
        for i, penalty in enumerate(PENALTIES):
            for s, rows in enumerate(subsets):
                a, b = (
                    objective(z[rows], y[rows], h.weight[2 * i + s], h.bias[2 * i + s], penalty)
                    for h in (found, alone)
                )
                assert a == pytest.approx(b, abs=1e-4)


@given(widths=st.lists(st.integers(1, 3000), min_size=1, max_size=30), n=st.integers(4, 2000))
def test_batches_hold_every_set_once_and_none_beside_much_wider_ones(
    widths: list[int], n: int
) -> None:
    sets = [torch.empty(n, d, device="meta") for d in widths]
    found = batches(sets, n_heads=16, n_classes=10)
    assert sorted(i for batch in found for i in batch) == list(range(len(sets)))
    for batch in found:
        ranks = [min(n, widths[i]) for i in batch]
        assert max(ranks) == ranks[0] <= 2 * min(ranks)
        if len(batch) > 1:
            assert ranks[0] * n * 16 * 10 * len(batch) <= 100_000_000
            assert n * 16 * 10 * len(batch) <= 2_000_000


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(12, 60), d=st.integers(2, 80), k=st.integers(2, 5),
    seed=st.integers(0, 2**16), scale=st.sampled_from([0.1, 1.0, 2.0]), begun=st.booleans(),
)  # fmt: skip
@example(n=25, d=10, k=3, seed=16785, scale=2.0, begun=True)  # steps of few directions say little
def test_no_head_lies_above_its_minimum(
    n: int, d: int, k: int, seed: int, scale: float, begun: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    z, y = scale * torch.randn(n, d, generator=generator), torch.arange(n) % k
    subsets = torch.rand(3, n, generator=generator) < 0.8
    subsets[:, :k] = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlsweep.heads.logistic.SMALL", 0 if begun else 10**12)
        heads = fit_logistic(z, y, k, PENALTIES, subsets)
    assert heads.converged.all()
    for s, rows in enumerate(subsets):
        exact = fit_logistic(z[rows].double(), y[rows], k, PENALTIES, gap=1e-10)
        for i, penalty in enumerate(PENALTIES):
            best = objective(z[rows], y[rows], exact.weight[i], exact.bias[i], penalty)
            ours = heads.weight[3 * i + s], heads.bias[3 * i + s]
            assert -1e-6 < objective(z[rows], y[rows], *ours, penalty) - best < 1e-4


def test_the_size_of_a_chunk_changes_nothing(
    digits: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    z, y = digits[0][:300], digits[1][:300]
    whole = fit_logistic(z, y, 10, PENALTIES[2:])
    monkeypatch.setattr("tlsweep.heads.logistic.CELLS", 40 * 37)
    chunked = fit_logistic(z, y, 10, PENALTIES[2:])
    assert torch.allclose(whole.logits(z).softmax(2), chunked.logits(z).softmax(2), atol=1e-3)
    assert torch.equal(whole.predictions(z), whole.logits(z).argmax(2))


@pytest.mark.parametrize(("penalties", "weights"), [([0.0], None), ([1.0], torch.zeros(1, 60))])
def test_what_has_no_optimum_is_refused(penalties: list[float], weights: Tensor | None) -> None:
    z, y = wide(60, 20)
    with pytest.raises(ValueError, match="above 0"):
        fit_logistic(z, y, 3, penalties, weights)


class Quadratics:
    """scales / 2 * |point - centre|^2, which the solver knows nothing of but values and slopes."""

    def __init__(self, scales: Tensor, centres: Tensor) -> None:
        self.scales, self.centres = scales, centres
        self._to(torch.zeros_like(centres))

    def _to(self, points: Tensor) -> None:
        self.points, self.gradient = points, self.scales * (points - self.centres)
        self.values = self._value(points, torch.arange(len(points)))

    def _value(self, points: Tensor, which: Tensor) -> Tensor:
        return (self.scales[which] * (points - self.centres[which]).square()).sum(1) / 2

    def precondition(self, vectors: Tensor) -> Tensor:
        return vectors.clone()

    def bound(self) -> Tensor:
        return self.gradient.square().sum(1) / (2 * self.scales.amin(1))

    def aim(self, direction: Tensor) -> None:
        self.direction = direction

    def attempt(self, some: Tensor | None, length: Tensor) -> tuple[Tensor, Tensor]:
        which = torch.arange(len(self.points)) if some is None else some
        direction = self.direction[which]
        points = self.points[which] + length[:, None] * direction
        slope = (self.scales[which] * (points - self.centres[which]) * direction).sum(1)
        return self._value(points, which), slope

    def move(self, length: Tensor) -> None:
        self._to(self.points + length[:, None] * self.direction)

    def keep(self, still: Tensor) -> None:
        self.scales, self.centres = self.scales[still], self.centres[still]
        self._to(self.points[still])


def test_lbfgs_finds_the_minima_of_quadratics_of_any_condition() -> None:
    scales = torch.logspace(0, 4, 12).double().repeat(5, 1) * torch.arange(1, 6)[:, None]
    centres = torch.randn(5, 12, generator=torch.Generator().manual_seed(0)).double()
    found = minimise(Quadratics(scales, centres), gap=1e-14)
    assert found.converged.all()
    assert torch.allclose(found.points, centres, atol=1e-5)


def test_a_weighted_ridge_path_is_scikit_learns_and_leaves_each_example_out_exactly() -> None:
    """The second target has weights of its own."""
    z, y = wide(24, 10)
    t = functional.one_hot(y, 3).float()[:, :2]
    weights = torch.stack([1.0 + (y == 0), torch.linspace(0.2, 3, 24)], 1)
    for w in (weights[:, 0], weights):
        path = fit_ridge(z, t, PENALTIES, w)
        for m in range(2):
            w_n = (w if w.ndim == 1 else w[:, m]).double().numpy()
            x, true = z.double().numpy(), t[:, m].double().numpy()
            for h, penalty in enumerate(PENALTIES):
                alpha = w_n.sum() * penalty
                theirs = Ridge(alpha=alpha).fit(x, true, w_n)
                found = path.heads.logits(z)[h, :, m]
                np.testing.assert_allclose(found, theirs.predict(x), atol=1e-4)
                for i in range(24):
                    rest = np.delete(np.arange(24), i)
                    alone = Ridge(alpha=alpha).fit(x[rest], true[rest], w_n[rest])
                    left_out = float(path.left_out[h, i, m])
                    assert left_out == pytest.approx(alone.predict(x[i : i + 1])[0], abs=1e-4)


def test_an_example_of_weight_two_counts_as_the_example_twice() -> None:
    z, y = wide(40, 12)
    weights = torch.ones(1, 40)
    weights[0, :9] = 2
    twice = torch.cat([z, z[:9]]), torch.cat([y, y[:9]])
    weighted = fit_logistic(z, y, 3, PENALTIES, weights, gap=1e-10)
    repeated = fit_logistic(*twice, 3, PENALTIES, gap=1e-10)
    torch.testing.assert_close(weighted.weight, repeated.weight, rtol=1e-2, atol=2e-3)
    t, t_twice = (functional.one_hot(c, 3).double() for c in (y, twice[1]))
    ridge = fit_ridge(z.double(), t, PENALTIES, weights[0]).heads
    torch.testing.assert_close(ridge.weight, fit_ridge(twice[0].double(), t_twice, PENALTIES)
                               .heads.weight)  # fmt: skip


@pytest.mark.parametrize("shape", ["tall", "wide"])
def test_the_ridge_path_equals_scikit_learns_ridge(
    digits: tuple[Tensor, Tensor], shape: str
) -> None:
    z, y = (digits[0][:300], digits[1][:300]) if shape == "tall" else wide(60, 200)
    t = functional.one_hot(y, int(y.max()) + 1).float()
    path = fit_ridge(z, t, PENALTIES)
    for i, penalty in enumerate(PENALTIES):
        theirs = Ridge(alpha=len(z) * penalty).fit(z.double().numpy(), t.double().numpy())
        predicted = torch.from_numpy(theirs.predict(z.double().numpy())).float()
        assert torch.allclose(path.heads.logits(z)[i], predicted, atol=1e-4)


@pytest.mark.parametrize("numeric", [True, False])
def test_leave_one_out_equals_fitting_without_each_example(numeric: bool) -> None:
    z, y = wide(24, 10)
    t = z[:, :1] ** 2 + y[:, None] if numeric else functional.one_hot(y, 3).float()
    path = fit_ridge(z, t, PENALTIES)
    for i in range(24):
        rest = np.delete(np.arange(24), i)
        for h, penalty in enumerate(PENALTIES):
            # the penalty of the mean over 23 examples that adds the same to their sum
            alone = fit_ridge(z[rest], t[rest], [penalty * 24 / 23])
            assert torch.allclose(
                alone.heads.logits(z[i : i + 1])[0, 0], path.left_out[h, i], atol=1e-4
            )
