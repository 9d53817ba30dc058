"""The intervals cover what they say, and agree with what others compute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tlsweep.task import Classes, Labels, Numbers
from tlsweep.verdict import accuracy_interval, difference_interval, mean_interval, model_interval

Hits = npt.NDArray[np.bool_]
Draw = Callable[..., Hits]
TABLES = 1500

SCENARIOS = {
    # accuracy, replicates, images, seed effect, image effect (in units of the noise)
    "plain": (0.8, 3, 500, 0.0, 1.0),
    "three replicates, weak seeds": (0.85, 3, 300, 0.1, 1.0),
    "few images, high accuracy": (0.97, 3, 150, 0.1, 1.0),
    "strong seeds": (0.8, 3, 700, 0.5, 1.0),
    "strong seeds, five replicates": (0.9, 5, 400, 0.4, 1.5),
    "images alike": (0.7, 3, 200, 0.2, 0.0),
    "images all-or-nothing": (0.9, 3, 300, 0.05, 5.0),
    "one replicate": (0.9, 1, 200, 0.0, 1.0),
    "two replicates": (0.9, 2, 300, 0.2, 1.0),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_95_percent_interval_covers_the_accuracy_over_new_seeds_and_new_images(
    draw_hits: Draw, name: str
) -> None:
    accuracy, replicates, images, seed_sd, image_sd = SCENARIOS[name]
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(TABLES):
        own = accuracy_interval(draw_hits(rng, accuracy, replicates, images, seed_sd, image_sd))
        covered += own.low <= accuracy <= own.high
    # the effect of two seeds is known with one degree of freedom only: a little is lost
    assert covered / TABLES >= (0.9 if name == "two replicates" else 0.92)


@pytest.mark.parametrize("images", [150, 700])
def test_without_a_seed_effect_the_interval_is_not_much_wider_than_the_ideal_one(
    draw_hits: Draw, images: int
) -> None:
    rng = np.random.default_rng(2)
    tables = [draw_hits(rng, 0.85, 3, images, 0.0, 1.0) for _ in range(400)]
    ideal = 2 * 1.96 * np.std([t.mean() for t in tables])
    widths = [own.high - own.low for own in map(accuracy_interval, tables)]
    assert ideal * 0.95 < np.mean(widths) < 1.6 * ideal


def test_an_interval_from_seeds_alone_or_images_alone_would_be_too_narrow(
    draw_hits: Draw,
) -> None:
    rng = np.random.default_rng(3)
    tables = [draw_hits(rng, 0.8, 3, 400, 0.3, 1.0) for _ in range(300)]
    ours = np.mean([own.high - own.low for own in map(accuracy_interval, tables)])
    one_image_sample = np.mean([2 * 1.96 * t.mean(0).std(ddof=1) / 20 for t in tables])
    assert ours > 1.3 * one_image_sample


@given(st.integers(2, 6), st.integers(2, 30), st.integers(0, 2**31))
def test_the_variance_is_that_of_a_two_way_random_effects_layout(
    replicates: int, images: int, seed: int
) -> None:
    hits = np.random.default_rng(seed).random((replicates, images)) < 0.7
    variance = _brute_force_variance(hits)
    if variance <= 0 or not 0 < hits.mean() < 1:
        return
    from tlsweep.verdict.intervals import variance_of_mean

    ours, _ = variance_of_mean(hits.astype(float))
    assert ours == pytest.approx(variance, rel=1e-9)


def _brute_force_variance(hits: Hits) -> float:
    # the estimator of moments, written out over single cells
    r, n = hits.shape
    cells = [[float(hits[i, j]) for j in range(n)] for i in range(r)]
    grand = sum(map(sum, cells)) / (r * n)
    row = [sum(cells[i]) / n for i in range(r)]
    column = [sum(cells[i][j] for i in range(r)) / r for j in range(n)]
    ms_row = n * sum((m - grand) ** 2 for m in row) / (r - 1)
    ms_column = r * sum((m - grand) ** 2 for m in column) / (n - 1)
    ss_error = sum(
        (cells[i][j] - row[i] - column[j] + grand) ** 2 for i in range(r) for j in range(n)
    )
    ms_error = ss_error / ((r - 1) * (n - 1))
    of_seeds = max(0.0, (ms_row - ms_error) / n)  # a variance is not negative
    # images and chance together: their mean square over its number of cells
    return of_seeds / r + ms_column / (r * n)


@pytest.mark.parametrize("hits", [1, 30, 137, 199])
def test_one_replicate_gives_wilsons_interval_up_to_t_in_place_of_z(hits: int) -> None:
    ours = accuracy_interval(np.arange(200)[None] < hits)
    wilson = stats.binomtest(hits, 200).proportion_ci(method="wilson")
    width = wilson.high - wilson.low
    assert ours.score == hits / 200
    assert ours.low == pytest.approx(wilson.low, abs=0.02 * width)
    assert ours.high == pytest.approx(wilson.high, abs=0.02 * width)


def test_equal_replicates_tell_no_more_than_one() -> None:
    row = np.arange(200)[None] < 150
    one, three = accuracy_interval(row), accuracy_interval(np.tile(row, (3, 1)))
    assert three.as_list() == pytest.approx(one.as_list(), abs=1e-3)


@pytest.mark.parametrize("replicates", [1, 3])
def test_a_table_of_hits_or_of_misses_has_an_interval_and_it_is_one_sided(
    replicates: int,
) -> None:
    hit = accuracy_interval(np.ones((replicates, 100), bool))
    miss = accuracy_interval(np.zeros((replicates, 100), bool))
    wilson = stats.binomtest(100, 100).proportion_ci(method="wilson")
    assert (hit.score, hit.high) == (1.0, 1.0)
    assert hit.low == pytest.approx(wilson.low, abs=2e-3)
    assert (miss.score, miss.low) == (0.0, 0.0)
    assert miss.high == pytest.approx(1 - hit.low)


@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 2**31), st.floats(0, 1))
def test_every_interval_holds_its_score_and_stays_between_0_and_1(
    replicates: int, images: int, seed: int, share: float
) -> None:
    hits = np.random.default_rng(seed).random((replicates, images)) < share
    own = accuracy_interval(hits)
    assert 0 <= own.low <= own.score <= own.high <= 1
    assert own.score == hits.mean()


@given(st.integers(0, 2**31))
def test_more_confidence_gives_a_wider_interval(seed: int) -> None:
    hits = np.random.default_rng(seed).random((3, 40)) < 0.6
    a, b = accuracy_interval(hits, 0.8), accuracy_interval(hits, 0.99)
    assert b.low < a.low
    assert a.high < b.high


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (2, 2, 2)])
def test_what_is_no_table_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="hits are a table"):
        accuracy_interval(np.ones(shape, bool))


# ------------------------------------------------------------------ differences
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 12), st.integers(0, 2**31))
def test_the_difference_turned_round_is_the_difference_with_the_other_sign(
    first: int, second: int, images: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.random((first, images)) < 0.7, rng.random((second, images)) < 0.5
    ab, ba = difference_interval(a, b), difference_interval(b, a)
    assert ab.score == pytest.approx(-ba.score)
    assert ab.as_list() == pytest.approx([-ba.high, -ba.low])
    assert -1 <= ab.low <= ab.score <= ab.high <= 1


DIFFERENCES = {
    # accuracies, replicates of each, images, seed effect
    "equal, no seeds": (0.85, 0.85, 3, 3, 300, 0.0),
    "different, weak seeds": (0.92, 0.85, 3, 3, 300, 0.15),
    "strong seeds": (0.85, 0.85, 3, 3, 500, 0.5),
    "high accuracy": (0.97, 0.95, 3, 3, 150, 0.1),
    "a replicate was lost": (0.85, 0.85, 3, 2, 500, 0.4),
    "two against five": (0.85, 0.85, 5, 2, 400, 0.3),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_95_percent_interval_covers_the_difference_of_two_plans_on_the_same_images(
    draw_hits: Draw, name: str
) -> None:
    one, other, first, second, images, seed_sd = DIFFERENCES[name]
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(TABLES):
        easy = rng.normal(0, 1, images)
        a = draw_hits(rng, one, first, images, seed_sd, 1.0, easy)
        b = draw_hits(rng, other, second, images, seed_sd, 1.0, easy)
        own = difference_interval(a, b)
        covered += own.low <= one - other <= own.high
    assert covered / TABLES >= 0.92


def test_pairing_on_images_makes_the_interval_of_a_difference_narrower(draw_hits: Draw) -> None:
    rng = np.random.default_rng(5)
    paired, unpaired = [], []
    for _ in range(100):
        easy = rng.normal(0, 2, 300)
        a, b = (draw_hits(rng, 0.85, 3, 300, 0.0, 2.0, easy) for _ in range(2))
        other = draw_hits(rng, 0.85, 3, 300, 0.0, 2.0)
        for kept, d in (
            (paired, difference_interval(a, b)),
            (unpaired, difference_interval(a, other)),
        ):
            kept.append(d.high - d.low)
    # the median: by chance, three seeds of a hundred tables look like a strong effect
    assert np.median(paired) < 0.75 * np.median(unpaired)


def test_two_equal_tables_show_no_difference_but_do_not_prove_that_there_is_none() -> None:
    hits = np.arange(100)[None] < 80
    own = difference_interval(hits, hits)
    assert own.score == 0
    assert own.low == -own.high
    assert 0.005 < own.high < 0.05


def test_tables_of_different_images_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 4 images cannot be paired"):
        difference_interval(np.ones((2, 3), bool), np.ones((2, 4), bool))


# ------------------------------------------------------------------ one model
@pytest.mark.parametrize("hits", [0, 1, 137, 200])
def test_the_score_of_one_model_has_wilsons_interval(hits: int) -> None:
    own = model_interval(np.arange(200) < hits)
    wilson = stats.binomtest(hits, 200).proportion_ci(method="wilson")
    assert (own.score, own.low, own.high) == (hits / 200, wilson.low, wilson.high)


@pytest.mark.parametrize(("seed_sd", "images"), [(0.0, 150), (0.5, 150), (0.5, 600)])
def test_it_covers_the_score_of_the_model_taken_home_however_much_seeds_vary(
    seed_sd: float, images: int
) -> None:
    rng, covered = np.random.default_rng(6), 0
    for _ in range(1000):
        true = stats.norm.cdf(1.2 + rng.normal(0, seed_sd))  # of this seed's model
        own = model_interval(rng.random(images) < true)
        covered += own.low <= true <= own.high
    assert 0.93 <= covered / 1000 <= 0.97


@pytest.mark.parametrize("shape", [(0,), (1, 5)])
def test_hits_of_one_model_are_a_row(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="hits of one model"):
        model_interval(np.ones(shape, bool))


# ------------------------------------------------------------------ scores of any kind
@pytest.mark.parametrize(("metric", "least"), [("mae", 0.93), ("rmse", 0.92), ("r2", 0.93)])
def test_a_95_percent_interval_covers_what_a_model_of_numbers_scores_on_new_examples(
    metric: str, least: float
) -> None:
    """Errors have heavy tails: of their squares a few tell most, and a sample lacks some."""
    rng, task = np.random.default_rng(5), Numbers(1, spread=1.0, metric=metric)

    def scores(n: int) -> npt.NDArray[np.float64]:
        y = rng.normal(size=(n, 1))
        said = (y + 0.3 * rng.standard_t(6, (n, 1))).astype(np.float32)
        return task.example_scores(said, y)

    truth = scores(400_000).mean()
    high = task.metric.high
    found = [mean_interval(scores(150)[None], high=high) for _ in range(600)]
    covered = np.mean([own.low <= truth <= own.high for own in found])
    assert least < covered < 0.98


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1", "log_loss"])
def test_a_95_percent_interval_covers_metrics_of_classes(metric: str) -> None:
    rng, task = np.random.default_rng(6), Classes(3, metric)
    shares = [0.6, 0.3, 0.1]

    def scores(n: int) -> npt.NDArray[np.float64]:
        y = rng.choice(3, n, p=shares)
        logits = (rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[y]).astype(np.float32)
        return task.example_scores(logits, y)

    truth = scores(200_000).mean()
    bounds = {"low": task.metric.low, "high": task.metric.high}
    found = [mean_interval(scores(300)[None], **bounds) for _ in range(600)]
    covered = np.mean([own.low <= truth <= own.high for own in found])
    assert 0.91 < covered < 0.98


def test_an_interval_of_a_mean_stays_between_its_bounds() -> None:
    found = mean_interval(np.array([[0.0, 0.1, 1.4, 0.0, 0.2]]), low=0.0, high=1.0)
    assert 0.0 < found.low < 0.1
    assert found.score == pytest.approx(0.34)
    assert 0.8 < found.high < 1.0
    assert mean_interval(np.full((1, 5), 0.3)).as_list() == [0.3, 0.3]


def test_scores_that_are_right_or_wrong_have_the_same_interval_as_their_share_has() -> None:
    """Of all that lie between two bounds, Wilson's; their tails are light."""
    hits = (np.arange(80) % 2 == 0)[None]
    known, own = accuracy_interval(hits), mean_interval(hits.astype(float), low=0.0, high=1.0)
    assert own.as_list() == pytest.approx(known.as_list(), abs=2e-3)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0)])
def test_answers_that_are_all_at_the_bound_do_not_prove_that_all_others_are(
    low: float, high: float
) -> None:
    found = mean_interval(np.full((1, 30), high), low=low, high=high)
    wilson = stats.binomtest(30, 30).proportion_ci(method="wilson")
    assert (found.score, found.high) == (high, high)
    assert found.low == pytest.approx(low + (high - low) * wilson.low, abs=0.02 * (high - low))


def test_the_interval_of_an_error_is_as_wide_on_both_sides_in_the_number_of_times() -> None:
    found = mean_interval(-np.array([[0.5, 1.0, 1.5, 2.0, 2.5, 3.0]]), high=0.0)
    t, error = stats.t.ppf(0.975, 5), np.sqrt(3.5 / 4 / 6)
    times = np.exp(t * error / 1.75)
    assert found.score == -1.75
    assert found.as_list() == pytest.approx([-1.75 * times, -1.75 / times])


def test_one_example_that_tells_most_of_an_error_leaves_its_interval_few_degrees() -> None:
    """Of the width that others' errors alone would give, it is the larger quantile."""
    even, odd = np.tile([-1.0, -3.0], 50)[None], np.full((1, 100), -1.0)
    odd[0, 0] = -101.0  # the same mean
    for scores, freedom in ((even, 99), (odd, 5)):
        found, error = mean_interval(scores, high=0.0), stats.sem(scores[0])
        assert found.score == -2
        half = np.log(found.low / found.score)
        assert half == pytest.approx(stats.t.ppf(0.975, freedom) * error / 2)


def test_a_95_percent_interval_covers_metrics_of_labels_that_are_nearly_all_right() -> None:
    """Most samples lack the rare error: their scores hardly vary, and prove little."""
    rng, task = np.random.default_rng(7), Labels(4, "mean_average_precision")

    def scores(n: int) -> npt.NDArray[np.float64]:
        y = rng.random((n, 4)) < 0.3
        logits = rng.normal(size=(n, 4)) + 5 * y
        return task.example_scores(logits.astype(np.float32), y)

    truth = scores(100_000).mean()
    found = [mean_interval(scores(50)[None], low=0.0, high=1.0) for _ in range(200)]
    covered = np.mean([own.low <= truth <= own.high for own in found])
    assert covered >= 0.93  # Student's: 0.25
