"""How two plans compare on the folds that both have."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tlsweep.verdict import Evidence, compare
from tlsweep.verdict.evidence import (
    FREEDOM_BEFOREHAND,
    SEED_SPREAD,
    SeedVariance,
    contenders,
    correlation,
    explained,
    seed_variance,
)

Make = Callable[..., Evidence]
ALL = frozenset(range(5))


def hits(rng: np.random.Generator, share: float, n: int = 100) -> np.ndarray:
    return (rng.random(n) < share).astype(float)


def test_the_difference_is_that_of_the_examples_that_both_answered(evidence: Make) -> None:
    a = evidence("a", np.ones(20), scored=[0, 1, 2])
    b = evidence("b", np.arange(20) % 5 == 0, scored=[0, 1, 3])
    found = compare(a, b)
    assert (found.folds, found.examples) == (2, 8)
    assert found.difference == 0.5  # fold 0 all right, fold 1 all wrong


def test_the_error_is_nadeaus_and_bengios_where_folds_differ_more_than_examples_explain(
    evidence: Make,
) -> None:
    # 25 examples, 5 a fold; folds differ by 0, 0, 1, 1, 1
    lacks = np.isin(np.arange(25) % 5, [2, 3, 4])
    found = compare(evidence("a", np.ones(25)), evidence("b", ~lacks))
    variance = np.var([0, 0, 1, 1, 1], ddof=1) * (1 / 5 + 5 / 20)
    assert found.difference == pytest.approx(0.6)
    assert found.error == pytest.approx(math.sqrt(variance))
    assert found.freedom == 4
    assert found.at_most(0.9) == pytest.approx(0.6 + stats.t.ppf(0.9, 4) * math.sqrt(variance))
    low, high = found.between(0.95)
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 4) * math.sqrt(variance))
    assert found.chance == pytest.approx(stats.t.cdf(-0.6 / math.sqrt(variance), 4))


def test_folds_that_are_alike_by_chance_do_not_make_a_difference_certain(evidence: Make) -> None:
    # every fold lacks one of its 20 examples: the folds' variance is nothing
    lacks = np.arange(100) < 5
    found = compare(evidence("a", np.ones(100)), evidence("b", ~lacks))
    of_examples = np.var(lacks, ddof=1) / 100
    assert found.error == pytest.approx(math.sqrt(of_examples))
    assert found.freedom == pytest.approx(99)


def test_two_plans_that_answer_alike_show_no_difference_but_not_that_there_is_none(
    evidence: Make,
) -> None:
    found = compare(evidence("a", np.ones(50)), evidence("b", np.ones(50)))
    assert found.difference == 0
    assert found.error == 0.5 / 50
    assert found.chance == 0.5


def test_one_fold_of_a_trained_plan_says_less_than_one_of_a_frozen_plan(evidence: Make) -> None:
    rng = np.random.default_rng(0)
    best, scores = evidence("best", hits(rng, 0.9)), hits(rng, 0.7)
    frozen = compare(best, evidence("frozen", scores, scored=[1]))
    tuned = compare(best, evidence("t", scores, scored=[1], kind="tuned", deterministic=False))
    assert tuned.difference == frozen.difference
    spread = SEED_SPREAD * math.sqrt(4 * np.nanvar(evidence("t", scores, scored=[1]).scores_rn))
    assert 0.03 < spread < SEED_SPREAD
    assert tuned.error == pytest.approx(math.hypot(frozen.error, spread))


def test_a_plan_that_is_right_everywhere_may_still_owe_it_to_its_seed(evidence: Make) -> None:
    frozen = evidence("f", np.ones(250), scored=[1])
    tuned = evidence("t", np.ones(250), scored=[1], kind="tuned", deterministic=False)
    assert compare(frozen, tuned).error > 0.01 + compare(frozen, frozen).error / 2


def test_in_one_holdout_seeds_and_images_both_count() -> None:
    rng = np.random.default_rng(1)
    table = (rng.random((3, 400)) < np.array([[0.9], [0.8], [0.7]])).astype(float)
    one = np.zeros(3, dtype=np.int64)
    tuned = Evidence("tuned", table, 1 - table, one, (1.0, 1.0), "tuned")
    row = np.ones((1, 400))
    frozen = Evidence("frozen", row, 1 - row, one[:1], (1.0, 0.0), deterministic=True)
    seeds = seed_variance([frozen, tuned], frozenset({0}))
    found = compare(frozen, tuned, seeds)
    assert set(seeds) == {"tuned"}
    beforehand = 4 * np.var(table) * SEED_SPREAD**2
    assert beforehand < 0.002 < seeds["tuned"].value < 0.01
    of_images = np.var(table.mean(0), ddof=1) / 400
    assert found.error == pytest.approx(math.sqrt(of_images + seeds["tuned"].value / 3))
    assert found.freedom < 5


def test_seeds_vary_by_kind_and_frozen_plans_not_at_all(evidence: Make) -> None:
    rng = np.random.default_rng(2)
    n, folds = 5000, np.arange(5000) % 5
    calm = [evidence(f"f{i}", hits(rng, 0.8, n)) for i in range(6)]
    wild = []
    for i in range(4):
        luck = rng.normal(0, 0.06, 5)[folds]
        scores = (rng.random(n) < 0.8 + luck).astype(float)
        wild.append(evidence(f"t{i}", scores, kind="tuned", deterministic=False))
    found = seed_variance([*calm, *wild], ALL)
    assert set(found) == {"tuned"}
    assert found["tuned"].freedom == 16 + FREEDOM_BEFOREHAND
    assert math.sqrt(found["tuned"].value) == pytest.approx(0.06, rel=0.4)


@pytest.mark.parametrize("score", [0.5, 0.98])
def test_replicates_that_agree_by_chance_leave_what_is_expected_of_seeds(
    evidence: Make, score: float
) -> None:
    scores = np.tile(np.arange(200) < 200 * score, 5).astype(float).reshape(5, 200).T.ravel()
    plan = evidence("t", scores, kind="tuned", deterministic=False)
    found = seed_variance([plan], ALL)["tuned"]
    assert 0 < found.value < 4 * score * (1 - score) * SEED_SPREAD**2
    assert 4 < found.freedom <= 4 + FREEDOM_BEFOREHAND


def test_many_replicates_outweigh_what_is_expected(evidence: Make) -> None:
    rng = np.random.default_rng(4)
    plans = [
        evidence(f"t{i}", hits(rng, 0.5, 20_000), kind="tuned", deterministic=False)
        for i in range(20)
    ]
    assert seed_variance(plans, ALL)["tuned"].value < 0.1 * SEED_SPREAD**2


def test_what_all_folds_find_hard_is_not_taken_for_seeds(evidence: Make) -> None:
    rng = np.random.default_rng(3)
    hard = np.array([0.5, 0.6, 0.7, 0.8, 0.9])[np.arange(2000) % 5]
    plans = [
        evidence(f"t{i}", rng.random(2000) < hard, kind="tuned", deterministic=False)
        for i in range(5)
    ]
    assert seed_variance(plans, ALL)["tuned"].value < 0.01**2


def test_the_way_is_that_of_the_trained_plan_with_most_folds(evidence: Make) -> None:
    x, seeded = np.ones(20), {"kind": "tuned", "deterministic": False}
    frozen = evidence("frozen", x)
    tuned = evidence("tuned", x, scored=[1, 2, 3, 4], **seeded)
    dropped = evidence("dropped", x, scored=[1, 2], **seeded)
    control = evidence("scratch", x, scored=[1, 2, 3, 4], control=True, **seeded)
    known, way = contenders([frozen, tuned, dropped, control])
    assert ([plan.name for plan in known], way) == (["frozen", "tuned"], {1, 2, 3, 4})
    assert contenders([frozen, control]) == ([frozen], ALL)


def test_without_a_candidate_there_is_nothing_to_choose(evidence: Make) -> None:
    with pytest.raises(ValueError, match="no candidate"):
        contenders([evidence("scratch", np.ones(10), control=True)])


def test_five_folds_count_two_and_a_quarter_times(evidence: Make) -> None:
    plan = evidence("a", np.ones(100))
    assert correlation(plan, ALL) == pytest.approx(2.25)
    assert correlation(plan, frozenset({3})) == 1.0


def test_freedom_is_satterthwaites() -> None:
    from tlsweep.verdict.evidence import SeedVariance

    variance, freedom = explained(4.0, 101, [SeedVariance(2.0, 3.0, 5.0)])
    assert variance == 6.0
    assert freedom == pytest.approx(36 / (16 / 100 + 9 / 5))


@pytest.mark.parametrize(
    ("scores", "folds", "text"),
    [
        (np.ones((2, 5)), np.zeros(3, dtype=int), "are not"),
        (np.ones((0, 5)), np.zeros(0, dtype=int), "answers an example"),
        (np.full((1, 5), np.nan), np.zeros(1, dtype=int), "answers an example"),
    ],
)
def test_what_is_no_table_of_answers_is_refused(
    scores: np.ndarray, folds: np.ndarray, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        Evidence("odd", scores, scores, folds, (1.0, 0.0))


def test_plans_without_a_common_fold_cannot_be_compared(evidence: Make) -> None:
    a, b = evidence("a", np.ones(10), scored=[0]), evidence("b", np.ones(10), scored=[1])
    with pytest.raises(ValueError, match="a and b have no fold in common"):
        compare(a, b)


def test_other_examples_in_the_same_fold_cannot_be_compared(evidence: Make) -> None:
    a, b = evidence("a", np.ones(10)), evidence("b", np.ones(10))
    moved = Evidence("b", b.scores_rn[:, ::-1], b.losses_rn, b.fold_r, b.cost)
    with pytest.raises(ValueError, match="different examples"):
        compare(a, moved)


@given(st.integers(0, 2**31), st.integers(10, 60))
def test_a_comparison_turned_round_has_the_other_sign(evidence: Make, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = evidence("a", hits(rng, 0.8, n)), evidence("b", hits(rng, 0.6, n))
    ab, ba = compare(a, b), compare(b, a)
    assert ab.difference == pytest.approx(-ba.difference)
    assert ab.between(0.9) == pytest.approx([-x for x in reversed(ba.between(0.9))])
    assert ab.chance + ba.chance == pytest.approx(1)
    assert ab.at_least(0.9) <= ab.difference <= ab.at_most(0.9) <= ab.at_most(0.99)


def test_a_nominal_10_percent_bound_misses_at_most_that_often(evidence: Make) -> None:
    rng, missed = np.random.default_rng(4), 0
    for _ in range(600):
        easy = rng.normal(0, 1, 200)
        a, b = (easy + rng.normal(0, 0.7, 200) > -1.2 for _ in range(2))
        missed += compare(evidence("a", a), evidence("b", b)).at_most(0.9) < 0
    assert 0.02 < missed / 600 < 0.1


def test_many_images_outweigh_a_few_folds_in_what_is_known_of_seeds() -> None:
    """Of digits: four folds of 40 images, and three final trainings that answered 719."""
    folds, report = SeedVariance(1.8e-4, 5.4e-4, 6.0), SeedVariance(0.0, 1.5e-5, 2.0)
    both = folds.pooled(report)
    assert both.value < 5e-6  # as the images alone have it, not as the folds
    assert both.seen < 3e-5
    assert 2.0 <= both.freedom < 3.0
    # alike in all, they count by their number
    twice = folds.pooled(folds)
    assert (twice.value, twice.seen, twice.freedom) == pytest.approx((1.8e-4, 5.4e-4, 12.0))
