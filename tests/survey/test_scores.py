"""Each transferability score equals a value computed independently, and tells signal from noise."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, optimize
from sklearn.covariance import ledoit_wolf
from sklearn.datasets import load_digits
from torch import Tensor

from tlsweep.survey.scores import (
    Spectrum,
    frechet_distance,
    h_score,
    leep,
    linear_cka,
    log_me,
    log_me_numeric,
    shrunk_h_score,
    unbiased_linear_cka,
)
from tlsweep.survey.scores.h_score import shrinkage

Array = npt.NDArray[np.float64]
SHAPES = [(60, 12), (20, 45), (30, 30), (12, 1), (9, 200)]


def problem(n: int, d: int, classes: int = 3, signal: float = 1.0) -> tuple[Tensor, Tensor]:
    """Features [n, d] with a mean and unequal spreads, some of which tell the classes."""
    rng = np.random.default_rng(1000 * n + d)
    y = np.arange(n) % classes
    z = rng.normal(2, 1, (n, d)) * rng.uniform(0.1, 3, d)
    z[:, 0] += signal * y
    z[:, -1] -= signal * (y == 1)
    return torch.from_numpy(z), torch.from_numpy(y)


# ------------------------------------------------------------------ LogME
def textbook_evidence(z: Array, t: Array, alpha: float, beta: float) -> float:
    """Log density of t under its explicit covariance, all weights integrated out."""
    covariance = np.eye(len(z)) / beta + z @ z.T / alpha
    _, volume = np.linalg.slogdet(covariance)
    return -0.5 * float(t @ np.linalg.solve(covariance, t) + volume + len(z) * np.log(2 * np.pi))


def brute_force(z: Array, t: Array) -> float:
    """The highest evidence over alpha and beta from several starts, per example."""

    def cost(logs: Array) -> float:
        alpha, beta = np.exp(np.clip(logs, -16, 16))
        return -textbook_evidence(z, t, float(alpha), float(beta))

    starts = [(a, b) for a in (-4.0, 0.0, 4.0, 8.0) for b in (0.0, 3.0)]
    found = [
        optimize.minimize(cost, s, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10})
        for s in starts
    ]
    return -min(float(f.fun) for f in found) / len(z)


def fixed_point(z: Array, t: Array, rounds: int = 20_000) -> float:
    """The papers' own iteration (MacKay's), run to its end; evidence in the [d, d] form."""
    n, d = z.shape
    u, s, _ = np.linalg.svd(z, full_matrices=True)
    s2 = np.zeros(n)
    s2[: len(s)] = s**2
    x2 = (u.T @ t) ** 2
    alpha = beta = 1.0
    for _ in range(rounds):
        ratio = alpha / beta
        gamma = float((s2 / (s2 + ratio)).sum())
        weight2 = float((s2 * x2 / (s2 + ratio) ** 2).sum())
        missed = float((x2 * ratio**2 / (s2 + ratio) ** 2).sum())
        alpha, beta = gamma / weight2, (n - gamma) / missed
    a = alpha * np.eye(d) + beta * z.T @ z
    m = beta * np.linalg.solve(a, z.T @ t)
    return 0.5 / n * float(
        n * np.log(beta) + d * np.log(alpha) - n * np.log(2 * np.pi)
        - beta * ((t - z @ m) ** 2).sum() - alpha * (m**2).sum() - np.linalg.slogdet(a)[1]
    )  # fmt: skip


@pytest.mark.parametrize(("n", "d"), [(24, 5), (40, 12), (15, 25), (12, 40), (16, 16), (10, 1)])
def test_log_me_is_the_textbook_evidence_at_its_maximum_over_alpha_and_beta(n: int, d: int) -> None:
    z, y = problem(n, d, signal=2.0)
    expected = [brute_force(z.numpy(), (y == c).double().numpy()) for c in range(3)]
    assert log_me(z, y, 3) == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(60, 12), (300, 40), (40, 12)])
def test_log_me_is_where_the_papers_fixed_point_ends(n: int, d: int) -> None:
    z, y = problem(n, d, signal=2.0)
    expected = [fixed_point(z.numpy(), (y == c).double().numpy()) for c in range(3)]
    assert log_me(z, y, 3) == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(40, 8), (15, 30)])
def test_log_me_of_numbers_is_the_textbook_evidence_at_its_maximum(n: int, d: int) -> None:
    z, y = problem(n, d)
    rng = np.random.default_rng(n)
    t = torch.stack([y + 0.3 * torch.from_numpy(rng.normal(size=n)), z[:, 0] ** 2], 1)
    expected = [brute_force(z.numpy(), t[:, i].numpy()) for i in range(2)]
    assert log_me_numeric(z, t) == pytest.approx(np.mean(expected), abs=1e-6)
    assert log_me_numeric(z, t[:, 1]) == pytest.approx(expected[1], abs=1e-6)


def test_log_me_of_classes_is_that_of_their_one_hot_targets() -> None:
    for n, d in SHAPES:
        z, y = problem(n, d)
        one_hot = torch.nn.functional.one_hot(y, 3)
        assert log_me(z, y, 3) == pytest.approx(log_me_numeric(z, one_hot), abs=1e-12)


def test_log_me_of_features_that_say_nothing_is_the_evidence_of_noise_alone() -> None:
    y = torch.arange(40) % 4
    alone = 0.5 * (math.log(4) - 1 - math.log(2 * math.pi))  # beta = n / (n / 4)
    assert log_me(torch.zeros(40, 3), y, 4) == pytest.approx(alone, abs=1e-8)


@pytest.mark.parametrize("d", [4, 70])
def test_log_me_does_not_see_constant_zero_or_collinear_features(d: int) -> None:
    z, y = problem(50, d, signal=2.0)
    halves = torch.cat([z / math.sqrt(2), z / math.sqrt(2), torch.zeros(50, 5)], 1)
    assert log_me(halves, y, 3) == pytest.approx(log_me(z, y, 3), abs=1e-7)
    same = torch.cat([z, torch.full((50, 4), 7.0)], 1)
    assert math.isfinite(log_me(same, y, 3))


def test_log_me_of_features_that_are_the_classes_is_finite() -> None:
    y = torch.arange(40) % 4
    exact = torch.nn.functional.one_hot(y, 4)
    assert 0 < log_me(exact, y, 4) < 20
    assert log_me(exact, y, 4) > log_me(exact + 0.1 * torch.randn(40, 4), y, 4)


def test_log_me_passes_over_classes_without_an_example() -> None:
    z, y = problem(30, 8)
    assert log_me(z, 2 * y, 9) == pytest.approx(log_me(z, y, 3), abs=1e-12)


@given(st.sampled_from(SHAPES), st.floats(-4, 4), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_log_me_does_not_depend_on_the_features_unit_or_rotation(
    shape: tuple[int, int], decade: float, seed: int
) -> None:
    z, y = problem(*shape)
    q = rotation(shape[1], seed)
    assert log_me(10**decade * z @ q, y, 3) == pytest.approx(log_me(z, y, 3), abs=1e-6)


# ------------------------------------------------------------------ H-score
def class_means(z: Array, y: Array) -> Array:
    return np.stack([z[y == c].mean(0) for c in y])


def explicit_h_score(z: Array, y: Array) -> float:
    covariance = np.atleast_2d(np.cov(z, rowvar=False))
    between = np.atleast_2d(np.cov(class_means(z, y), rowvar=False))
    return float(np.trace(np.linalg.pinv(covariance, rcond=1e-12) @ between))


def explicit_shrunk_h_score(z: Array, y: Array) -> float:
    shrunk, a = ledoit_wolf(z)
    between = np.atleast_2d(np.cov(class_means(z, y), rowvar=False, bias=True))
    return float((1 - a) * np.trace(np.linalg.inv(shrunk) @ between))


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_h_score_is_its_definition_with_explicit_covariances(n: int, d: int) -> None:
    z, y = problem(n, d)
    assert h_score(z, y) == pytest.approx(explicit_h_score(z.numpy(), y.numpy()), rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [s for s in SHAPES if s[1] > 1])
def test_shrunk_h_score_is_its_definition_with_scikit_learns_ledoit_wolf(n: int, d: int) -> None:
    z, y = problem(n, d)
    expected = explicit_shrunk_h_score(z.numpy(), y.numpy())
    assert shrunk_h_score(z, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [*SHAPES, (500, 20)])
def test_the_shrinkage_is_scikit_learns(n: int, d: int) -> None:
    z, _ = problem(n, d)
    assert shrinkage(Spectrum.of(z)) == pytest.approx(ledoit_wolf(z.numpy())[1], abs=1e-10)


def test_one_feature_has_nothing_to_shrink_to_whatever_its_mean() -> None:
    for shift in (0, 0.1, 1e3, 1e6):
        z, y = problem(12, 1)
        assert shrunk_h_score(z + shift, y) == pytest.approx(h_score(z, y), rel=1e-8)


def test_h_score_does_not_see_collinear_features() -> None:
    z, y = problem(60, 10)
    doubled = torch.cat([z, 2 * z, torch.ones(60, 1)], 1)
    assert h_score(doubled, y) == pytest.approx(h_score(z, y), rel=1e-6)


def test_with_fewer_examples_than_features_only_the_shrunk_h_score_tells_noise_from_signal() -> (
    None
):
    noise, y = problem(40, 100, signal=0.0)
    signal, _ = problem(40, 100, signal=8.0)
    assert h_score(noise, y) == pytest.approx(2, abs=1e-5)
    assert h_score(signal, y) == pytest.approx(2, abs=1e-5)
    assert shrunk_h_score(signal, y) > 1.5 * shrunk_h_score(noise, y)


def test_h_scores_of_constant_features_are_zero() -> None:
    y = torch.arange(30) % 3
    for value in (0.0, 0.1, 1e6):
        constant = torch.full((30, 5), value)
        assert h_score(constant, y) == shrunk_h_score(constant, y) == 0


# ------------------------------------------------------------------ LEEP
def leep_by_loops(source: Array, y: Array) -> float:
    n, k = source.shape
    joint = {(c, s): 0.0 for c in set(y.tolist()) for s in range(k)}
    for i in range(n):
        for s in range(k):
            joint[y[i], s] += source[i, s] / n
    total = 0.0
    for i in range(n):
        expected = 0.0
        for s in range(k):
            marginal = sum(joint[c, s] for c in set(y.tolist()))
            if marginal > 0:
                expected += joint[y[i], s] / marginal * source[i, s]
        total += math.log(expected)
    return total / n


def test_leep_is_the_papers_formula_by_loops() -> None:
    rng = np.random.default_rng(0)
    source = rng.dirichlet(np.full(7, 0.3), 40)
    source[:, 3] = 0  # a source class that is never likely
    source /= source.sum(1, keepdims=True)
    y = rng.integers(0, 4, 40) * 2  # and target classes without an example
    ours = leep(torch.from_numpy(source), torch.from_numpy(y))
    assert ours == pytest.approx(leep_by_loops(source, y), rel=1e-12)


def test_leep_of_a_toy_worked_by_hand() -> None:
    # P(y=0|s=0) = 1.5/2, P(y=0|s=1) = .5/2: each example of class 0 expects .75 * p + .25 * (1-p)
    source = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.0, 1.0]])
    expected = (2 * math.log(0.75) + 2 * math.log(0.5)) / 4
    assert leep(source, torch.tensor([0, 0, 1, 1])) == pytest.approx(expected, rel=1e-12)


def test_leep_lies_between_minus_the_entropy_of_the_classes_and_zero() -> None:
    y = torch.arange(30) % 3
    assert leep(torch.nn.functional.one_hot(y, 5), y) == pytest.approx(0, abs=1e-12)
    assert leep(torch.full((30, 5), 0.2), y) == pytest.approx(-math.log(3), rel=1e-6)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([[1.5, -0.5], [0.5, 0.5]], r"source probability -0\.5; none is below 0"),
        ([[0.5, 0.5], [2.0, 1.0]], r"is 2 off its sum of 1; softmax it"),
        ([[0.5, math.nan], [0.5, 0.5]], r"1 of 4 source probabilities are NaN or infinite"),
    ],
)
def test_leep_refuses_what_is_no_probability(source: list[list[float]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        leep(torch.tensor(source), torch.tensor([0, 1]))


# ------------------------------------------------------------------ CKA
def rotation(d: int, seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.linalg.qr(rng.normal(size=(d, d)))[0])


def gram_cka(a: Array, b: Array) -> float:
    n = len(a)
    h = np.eye(n) - 1 / n
    k, m = h @ a @ a.T @ h, h @ b @ b.T @ h
    return float(np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m)))


def song_hsic(a: Array, b: Array) -> float:
    """Song et al. 2012, equation 5."""
    n = len(a)
    k, m, one = a @ a.T, b @ b.T, np.ones(n)
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    return float(
        np.trace(k @ m)
        + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))  # fmt: skip


PAIRS = [(50, 8, 5), (20, 30, 40), (25, 8, 60), (25, 60, 8), (30, 30, 30)]


def pair(n: int, d: int, e: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(n + d + e)
    a = rng.normal(3, 1, (n, d)) * rng.uniform(0.1, 2, d)
    b = a @ rng.normal(size=(d, e)) * 0.3 + rng.normal(-1, 1, (n, e))
    return torch.from_numpy(a), torch.from_numpy(b)


@pytest.mark.parametrize(("n", "d", "e"), PAIRS)
def test_cka_is_its_kernel_definition_with_explicit_gram_matrices(n: int, d: int, e: int) -> None:
    a, b = pair(n, d, e)
    assert linear_cka(a, b) == pytest.approx(gram_cka(a.numpy(), b.numpy()), rel=1e-10)


@pytest.mark.parametrize(("n", "d", "e"), PAIRS)
def test_unbiased_cka_is_song_et_als_estimate_with_explicit_gram_matrices(
    n: int, d: int, e: int
) -> None:
    a, b = pair(n, d, e)
    x, y = a.numpy(), b.numpy()
    expected = song_hsic(x, y) / math.sqrt(song_hsic(x, x) * song_hsic(y, y))
    assert unbiased_linear_cka(a, b) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("cka", [linear_cka, unbiased_linear_cka])
@given(
    st.sampled_from(PAIRS), st.integers(0, 2**31), st.floats(1e-4, 1e4), st.floats(-100, 100)
)  # fmt: skip
@settings(deadline=None, max_examples=30)
def test_cka_does_not_see_a_rotation_a_scale_or_a_shift(
    cka: Callable[[Tensor, Tensor], float],
    shape: tuple[int, int, int],
    seed: int,
    scale: float,
    shift: float,
) -> None:
    a, b = pair(*shape)
    turned = scale * (a @ rotation(shape[1], seed)) + shift * scale
    assert cka(turned, b) == pytest.approx(cka(a, b), abs=1e-9)
    assert cka(turned, a) == pytest.approx(1, abs=1e-9)
    assert cka(a, b) == pytest.approx(cka(b, a), abs=1e-12)


def test_where_features_outnumber_examples_only_the_unbiased_cka_of_noise_is_near_zero() -> None:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.normal(size=(100, 1280))) for _ in range(2))
    assert linear_cka(a, b) > 0.9
    assert abs(unbiased_linear_cka(a, b)) < 0.05


@pytest.mark.parametrize("cka", [linear_cka, unbiased_linear_cka])
def test_cka_with_features_that_do_not_vary_is_zero(
    cka: Callable[[Tensor, Tensor], float],
) -> None:
    a, _ = pair(20, 6, 5)
    assert cka(a, torch.full((20, 3), 0.1)) == 0


def test_unbiased_cka_with_one_example_that_differs_is_zero() -> None:
    a, _ = pair(20, 6, 5)
    b = torch.zeros(20, 3)
    b[4] = 1
    assert unbiased_linear_cka(a, b) == 0


# ------------------------------------------------------------------ Frechet
def explicit_frechet(a: Array, b: Array) -> float:
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(cov_a @ cov_b)
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(apart + np.trace(cov_a + cov_b - 2 * np.real(root)))


def two_sets(n: int, m: int, d: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(n + m + d)
    a = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    b = rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + 0.5
    return torch.from_numpy(a), torch.from_numpy(b)


@pytest.mark.parametrize(("n", "m", "d"), [(100, 80, 6), (60, 200, 20), (50, 51, 2)])
def test_frechet_distance_is_the_one_with_scipys_root_of_a_matrix(n: int, m: int, d: int) -> None:
    a, b = two_sets(n, m, d)
    expected = explicit_frechet(a.numpy(), b.numpy())
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_diagonal_covariances_is_their_closed_form() -> None:
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])  # variances 4 / 3, uncorrelated
    a, b = corners * torch.tensor([1.0, 2.0]), corners * torch.tensor([3.0, 0.5]) + 2
    expected = 2 * 2**2 + 4 / 3 * ((1 - 3) ** 2 + (2 - 0.5) ** 2)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)


@given(st.integers(2, 30), st.integers(2, 30), st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_frechet_distance_is_symmetric_real_and_zero_for_one_set_with_itself(
    n: int, m: int, d: int
) -> None:
    a, b = two_sets(n, m, d)
    there, back = frechet_distance(a, b), frechet_distance(b, a)
    assert there >= 0
    assert there == pytest.approx(back, rel=1e-9)
    total = float(a.var(0).sum())
    assert 0 <= frechet_distance(a, a.flip(0)) <= 1e-11 * total
    assert frechet_distance(a, a + 3) == pytest.approx(9 * d, rel=1e-6, abs=1e-11 * total)


def test_frechet_distance_of_two_points_each_is_that_of_two_segments() -> None:
    # rank one in three dimensions: variances 2, along axes at a right angle
    a, b = torch.tensor([[1.0, 0, 0], [-1, 0, 0]]), torch.tensor([[0, 1.0, 0], [0, -1, 0]])
    assert frechet_distance(a, b) == pytest.approx(4)
    assert frechet_distance(a, 2 * a) == pytest.approx(2)


# ------------------------------------------------------------------ all of them
SCORES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "log_me": lambda z, y: log_me(z, y, int(y.max()) + 1),
    "h_score": h_score,
    "shrunk_h_score": shrunk_h_score,
    # of two sets of features the one of the classes themselves
    "linear_cka": lambda z, y: linear_cka(z, torch.nn.functional.one_hot(y)),
    "unbiased_linear_cka": lambda z, y: unbiased_linear_cka(z, torch.nn.functional.one_hot(y)),
    "leep": lambda z, y: leep(torch.softmax(z, 1), y),
    "frechet": lambda z, y: frechet_distance(z[y == 0], z[y == 1]),
}
every_score = pytest.mark.parametrize("name", SCORES)


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Standardised pixels [1797, 64] and classes."""
    x, y = load_digits(return_X_y=True)
    z = torch.from_numpy(x)
    return (z - z.mean(0)) / z.std(0).clamp_min(0.5), torch.from_numpy(y)


@pytest.mark.parametrize(
    ("name", "d"),
    # the plain H-score has the same value for any features of 120 dimensions, its highest
    [(name, d) for name in SCORES for d in (10, 120) if (name, d) != ("h_score", 120)],
)
def test_features_that_separate_the_classes_score_higher_than_noise(name: str, d: int) -> None:
    rng = np.random.default_rng(d)
    y = torch.arange(80) % 4
    noise = torch.from_numpy(rng.normal(size=(80, d)))
    signal = noise + 3 * torch.nn.functional.one_hot(y, d)
    assert SCORES[name](signal, y) > SCORES[name](noise, y) + 1e-3


@every_score
@pytest.mark.parametrize("n", [100, 1797])
def test_pixels_of_digits_score_higher_than_the_same_pixels_of_other_digits(
    digits: tuple[Tensor, Tensor], name: str, n: int
) -> None:
    z, y = digits[0][:n], digits[1][:n]
    shuffled = z[torch.randperm(n, generator=torch.Generator().manual_seed(0))]
    assert SCORES[name](z, y) > SCORES[name](shuffled, y) + 1e-3


@pytest.mark.parametrize("name", [name for name in SCORES if name != "leep"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_features_of_any_precision_are_scored_in_double(name: str, dtype: torch.dtype) -> None:
    z, y = problem(40, 6)
    z = z.to(dtype)
    assert SCORES[name](z, y) == SCORES[name](z.double(), y)


def test_leep_takes_probabilities_as_coarse_as_bfloat16() -> None:
    z, y = problem(40, 6)
    source = torch.softmax(z, 1)
    assert leep(source.bfloat16(), y) == pytest.approx(leep(source, y), abs=1e-2)


def test_a_shared_spectrum_gives_the_same_scores_and_is_decomposed_once() -> None:
    for n, d in SHAPES:
        z, y = problem(n, d)
        shared = Spectrum.of(z)
        assert Spectrum.of(shared) is shared
        assert log_me(shared, y, 3) == log_me(z, y, 3)
        assert h_score(shared, y) == h_score(z, y)
        assert shrunk_h_score(shared, y) == shrunk_h_score(z, y)
        assert linear_cka(shared, z) == linear_cka(z, z)
        assert shared.decomposition is shared.decomposition


@given(st.integers(5, 30), st.integers(0, 2**31), st.data())
@settings(deadline=None, max_examples=40)
def test_products_between_examples_and_between_features_give_the_same_scores(
    n: int, seed: int, data: st.DataObject
) -> None:
    d = data.draw(st.integers(1, n - 1))
    rng = np.random.default_rng(seed)
    z, y = torch.from_numpy(rng.normal(1, 1, (n, d))), torch.arange(n) % 2
    wide = torch.cat([z, torch.zeros(n, n)], 1)
    assert Spectrum.of(wide).between_examples
    assert not Spectrum.of(z).between_examples
    assert log_me(wide, y, 2) == pytest.approx(log_me(z, y, 2), abs=1e-6)
    # not the shrunk one: what it shrinks to counts the columns of zeros
    assert h_score(wide, y) == pytest.approx(h_score(z, y), abs=1e-6)
    for cka in (linear_cka, unbiased_linear_cka):
        assert cka(wide, wide) == pytest.approx(1, abs=1e-6)
        assert cka(wide, z) == pytest.approx(1, abs=1e-6)


# ------------------------------------------------------------------ refusals
OF_FEATURES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "log_me": lambda z, y: log_me(z, y, 3),
    "log_me_numeric": log_me_numeric,
    "h_score": h_score,
    "shrunk_h_score": shrunk_h_score,
    "linear_cka": lambda z, y: linear_cka(z, z),
    "unbiased_linear_cka": lambda z, y: unbiased_linear_cka(z, z),
    "frechet": lambda z, y: frechet_distance(z, z),
}


@pytest.mark.parametrize("name", OF_FEATURES)
def test_features_that_are_no_finite_table_of_enough_rows_are_refused(name: str) -> None:
    score, y = OF_FEATURES[name], torch.arange(6) % 3
    with pytest.raises(ValueError, match=r"are a table \[n, d\]; got shape \(6, 2, 2\)"):
        score(torch.zeros(6, 2, 2), y)
    with pytest.raises(ValueError, match=r"got shape \(6, 0\)"):
        score(torch.zeros(6, 0), y)
    broken = torch.zeros(6, 2)
    broken[1, 1], broken[2, 0] = torch.nan, torch.inf
    with pytest.raises(ValueError, match="2 of 12 features are NaN or infinite"):
        score(broken, y)
    with pytest.raises(ValueError, match=r"features of 1 examples; .* needs at least 2"):
        score(torch.zeros(1, 2), y[:1])


@pytest.mark.parametrize("name", ["log_me", "h_score", "shrunk_h_score", "leep"])
def test_classes_that_do_not_fit_are_refused(name: str) -> None:
    score = {**OF_FEATURES, "leep": leep}[name]
    z = torch.full((4, 2), 0.5)
    for y, words in [
        (torch.tensor([0, 1, 0]), r"one index for each of 4 rows; got \(3,\)"),
        (torch.tensor([1, 1, 1, 1]), "all 4 examples are of class 1; a score needs two classes"),
        (torch.tensor([0, -1, 1, 1]), "class -1; class indices count from 0"),
        (torch.tensor([0.0, 1, 0, 1]), r"whole numbers; got torch\.float32"),
    ]:
        with pytest.raises(ValueError, match=words):
            score(z, y)


def test_other_refusals_name_the_value_and_the_rule() -> None:
    z, y = problem(6, 2)
    with pytest.raises(ValueError, match="class 2; with 2 classes indices are below that"):
        log_me(z, y, 2)
    with pytest.raises(ValueError, match="5 targets for 6 rows"):
        log_me_numeric(z, torch.zeros(5))
    with pytest.raises(ValueError, match=r"targets \[1\] are the same for all examples"):
        log_me_numeric(z, torch.stack([z[:, 0], torch.ones(6)], 1))
    with pytest.raises(ValueError, match="features of 6 and 5 examples; CKA compares the same"):
        linear_cka(z, z[:5])
    with pytest.raises(ValueError, match="features of 3 examples; this score needs at least 4"):
        unbiased_linear_cka(z[:3], z[:3])
    with pytest.raises(ValueError, match="2 and 1 features; a distance needs the same ones"):
        frechet_distance(z, z[:, :1])
