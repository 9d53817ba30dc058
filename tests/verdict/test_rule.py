"""Which plan is best, which cheaper one is as good, and which is given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsweep.verdict import Evidence, best, compare, may_still_win, recommend

Make = Callable[..., Evidence]
SEEDED: dict[str, Any] = {"kind": "tuned", "deterministic": False}


def right(n: int, of: int = 100) -> np.ndarray:
    """So many right answers, spread over the folds."""
    return np.arange(of) < n


def test_the_highest_score_is_best_in_whatever_order_the_plans_come(evidence: Make) -> None:
    plans = [evidence("a", right(80)), evidence("b", right(90)), evidence("c", right(85))]
    assert best(plans).name == best(plans[::-1]).name == "b"


@pytest.mark.parametrize(
    ("more", "winner"),
    [
        ({"losses": np.full(100, 0.4)}, "b"),
        ({"losses": np.full(100, 0.6)}, "a"),
        ({"losses": np.full(100, 0.5), "cost": (0.5, 9.0)}, "b"),
        ({"losses": np.full(100, 0.5), "cost": (1.0, 1.0)}, "a"),
        ({"losses": np.full(100, 0.5)}, "a"),
    ],
    ids=["less loss", "more loss", "fewer FLOPs", "more parameters", "the name"],
)
def test_of_equal_scores_loss_then_cost_then_name_decide(
    evidence: Make, more: dict[str, Any], winner: str
) -> None:
    a = evidence("a", right(90), losses=np.full(100, 0.5), cost=(1.0, 0.0))
    b = evidence("b", right(90)[::-1], **more)
    assert best([a, b]).name == best([b, a]).name == winner


def test_a_control_is_never_best(evidence: Make) -> None:
    plans = [evidence("scratch", right(99), control=True), evidence("a", right(50))]
    assert best(plans).name == "a"


def test_a_plan_that_was_dropped_is_never_best(evidence: Make) -> None:
    tuned = evidence("tuned", right(80), scored=[1, 2, 3, 4], **SEEDED)
    dropped = evidence("dropped", right(100), scored=[1, 2], **SEEDED)
    assert best([tuned, dropped, evidence("frozen", right(70))]).name == "tuned"


def test_a_little_ahead_is_not_enough_for_a_plan_whose_seeds_vary_much(evidence: Make) -> None:
    rng = np.random.default_rng(0)
    answers = [rng.random(500) < 0.8 - i / 50 for i in range(5)]
    frozen = [evidence(f"frozen {i}", right) for i, right in enumerate(answers)]
    first = max(range(5), key=lambda i: answers[i].mean())
    ahead = answers[first].mean() + 0.004
    fold = np.arange(500) % 5
    wild = np.zeros(500)
    for k, share in enumerate(ahead + np.array([0.0, -0.12, 0.12, -0.1, 0.1])):
        wild[np.flatnonzero(fold == k)[: round(100 * share)]] = 1
    tuned = evidence("tuned", wild, **SEEDED)
    assert wild.mean() > max(right.mean() for right in answers)
    assert best([*frozen, tuned]).name == f"frozen {first}"
    assert best([*frozen, evidence("tuned", wild)]).name == "tuned"  # if no seed changed it


def test_a_cheaper_plan_that_is_shown_to_be_as_good_is_recommended(evidence: Make) -> None:
    n = 4000
    plans = [
        evidence("worse", right(3400, n), cost=(1.0, 0.0)),
        evidence("as good", right(3795, n), cost=(2.0, 5.0)),
        evidence("as good, fewer parameters", right(3790, n), cost=(2.0, 4.0)),
        evidence("best", right(3800, n), cost=(3.0, 0.0)),
        evidence("dearer", right(3799, n), cost=(4.0, 0.0)),
    ]
    found = recommend(plans)
    assert found.best.name == "best"
    assert found.cheaper is not None
    assert found.recommended.name == found.cheaper.name == "as good, fewer parameters"
    assert found.more_images is None
    assert [r.plan.name for r in found.ranked][:2] == ["best", "dearer"]


def test_few_images_leave_the_best_and_say_how_many_would_show_it(evidence: Make) -> None:
    rng = np.random.default_rng(1)
    easy = rng.normal(0, 1, 200)
    small = easy + rng.normal(0, 0.4, 200) > -1
    plans = [evidence("small", small, cost=(1.0, 0.0)), evidence("best", small | (easy > -1))]
    plans[1] = evidence("best", small | (np.arange(200) < 8), cost=(2.0, 0.0))
    found = recommend(plans, margin=0.02)
    assert found.recommended.name == "best"
    lacking = compare(plans[1], plans[0])
    assert lacking.at_most(0.9) > 0.02 > lacking.difference
    times = ((lacking.at_most(0.9) - lacking.difference) / (0.02 - lacking.difference)) ** 2
    assert found.more_images == int(np.ceil(200 * times))


def test_where_the_estimate_is_beyond_the_margin_more_images_may_not_show_it(
    evidence: Make,
) -> None:
    plans = [evidence("small", right(90), cost=(1.0, 0.0)), evidence("best", right(95))]
    plans[1] = evidence("best", right(95), cost=(2.0, 0.0))
    assert recommend(plans).more_images is None


def test_the_best_of_clear_differences_is_certain_and_loses_nothing(evidence: Make) -> None:
    found = recommend([evidence("a", right(950, 1000)), evidence("b", right(500, 1000))])
    assert found.ranked[0].p_best > 0.999
    assert found.ranked[0].expected_loss == pytest.approx(0, abs=1e-3)
    assert found.ranked[1].expected_loss == pytest.approx(0.45, abs=0.03)
    assert found.ranked[0].comparison is None


def test_one_candidate_is_the_best(evidence: Make) -> None:
    found = recommend([evidence("only", right(0))])
    assert (found.best.name, found.cheaper, found.more_images) == ("only", None, None)
    assert (found.ranked[0].p_best, found.ranked[0].expected_loss) == (1.0, 0.0)


@st.composite
def studies(draw: st.DrawFn) -> list[tuple[np.ndarray, tuple[float, float], bool]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    easy = rng.random(draw(st.integers(10, 80)))
    return [
        (
            rng.random(len(easy)) < easy * draw(st.floats(0.6, 2)),
            (draw(st.integers(0, 4)), draw(st.integers(0, 4))),
            draw(st.booleans()),
        )
        for _ in range(draw(st.integers(1, 6)))
    ]


def made(
    evidence: Make, study: list[tuple[np.ndarray, tuple[float, float], bool]]
) -> list[Evidence]:
    return [
        evidence(str(i), scores, cost=cost, **(SEEDED if seeded else {}))
        for i, (scores, cost, seeded) in enumerate(study)
    ]


@given(studies())
def test_the_recommended_plan_is_never_dearer_than_the_best_nor_shown_to_be_much_worse(
    evidence: Make, study: list[tuple[np.ndarray, tuple[float, float], bool]]
) -> None:
    found = recommend(made(evidence, study))
    assert (
        found.best is best(made(evidence, study))
        or found.best.name == best(made(evidence, study)).name
    )
    assert found.recommended.cost <= found.best.cost
    by_name = {r.plan.name: r for r in found.ranked}
    own = by_name[found.recommended.name].comparison
    assert own is None or own.at_most(0.9) <= 0.02
    assert sum(r.p_best for r in found.ranked) == pytest.approx(1)
    assert all(r.expected_loss >= 0 for r in found.ranked)
    assert recommend(made(evidence, study)).ranked[0].p_best == found.ranked[0].p_best


@given(studies(), st.floats(0, 0.1), st.floats(0, 0.1))
def test_a_wider_margin_never_recommends_a_dearer_plan(
    evidence: Make,
    study: list[tuple[np.ndarray, tuple[float, float], bool]],
    one: float,
    other: float,
) -> None:
    plans = made(evidence, study)
    narrow, wide = (recommend(plans, margin) for margin in sorted((one, other)))
    assert wide.recommended.cost <= narrow.recommended.cost


def test_a_margin_next_to_nothing_is_a_margin(evidence: Make) -> None:
    """The examples that it would take are beyond what a number holds."""
    best = evidence("best", np.arange(40) < 20, cost=(2.0, 2.0))
    cheap = evidence("cheap", np.arange(40) >= 20, losses=np.full(40, 1.1), cost=(1.0, 1.0))
    for margin in (1e-220, 5e-324):
        found = recommend([best, cheap], margin)
        assert (found.recommended.name, found.more_images) == ("best", None)


# ------------------------------------------------------------------ racing
def test_a_plan_that_lacks_much_on_its_folds_is_given_up(evidence: Make) -> None:
    rng = np.random.default_rng(2)
    frozen = evidence("frozen", rng.random(400) < 0.9)
    bad = evidence("bad", rng.random(400) < 0.4, scored=[1], **SEEDED)
    fair = evidence("fair", rng.random(400) < 0.87, scored=[1], **SEEDED)
    assert not may_still_win([frozen, bad, fair], bad)
    assert may_still_win([frozen, bad, fair], fair)


def test_a_cheaper_plan_may_lack_the_margin(evidence: Make) -> None:
    n = 20_000
    best_ = evidence("best", right(19_000, n), cost=(2.0, 0.0))
    slightly = right(18_800, n)
    assert not may_still_win([best_, d := evidence("dear", slightly, cost=(3.0, 0.0))], d)
    assert may_still_win([best_, c := evidence("cheap", slightly, cost=(1.0, 0.0))], c)
    assert not may_still_win([best_, c], c, margin=0.001)


def test_a_control_and_a_plan_without_rivals_go_on(evidence: Make) -> None:
    control = evidence("scratch", right(0), scored=[1], control=True, **SEEDED)
    lone = evidence("lone", right(0), scored=[1], **SEEDED)
    assert may_still_win([evidence("frozen", right(99)), control], control)
    assert may_still_win([control, lone], lone)


def test_racing_seldom_drops_the_truly_best_plan(evidence: Make) -> None:
    rng, dropped = np.random.default_rng(3), 0
    for _ in range(200):
        easy = rng.normal(0, 1, 200)
        answers = [easy + rng.normal(0, 0.7, 200) > -1.2 + 0.05 * i for i in range(8)]
        luck = rng.normal(0, 0.1, 5)[np.arange(200) % 5]
        scores = easy + luck + rng.normal(0, 0.7, 200) > -1.25
        plans = [evidence(str(i), a) for i, a in enumerate(answers)]
        for scored in ([1], [1, 2], [1, 2, 3]):
            mine = evidence("mine", scores, scored=scored, **SEEDED)
            if not may_still_win([*plans, mine], mine):
                dropped += 1
                break
    assert dropped / 200 <= 0.05


# ------------------------------------------------------------------ one holdout
def holdout(name: str, scores: np.ndarray, cost: tuple[float, float], **more: Any) -> Evidence:
    """Of a pool of 3,000, the last 1,000 are the holdout; a row of scores is a seed."""
    table = np.full((len(scores), 3000), np.nan)
    table[:, 2000:] = scores
    return Evidence(name, table, 1 - table, np.zeros(len(scores), dtype=np.int64), cost, **more)


def test_on_one_holdout_seeds_are_replicates_and_the_same_rule_holds() -> None:
    rng = np.random.default_rng(5)
    easy = rng.normal(0, 1, 1000)

    def answers(skill: float, seeds: int, spread: float = 0.0) -> np.ndarray:
        luck = rng.normal(0, spread, (seeds, 1))
        return (easy + luck + rng.normal(0, 0.3, (seeds, 1000)) > -skill).astype(float)

    frozen = holdout("frozen", answers(1.3, 1), (1.0, 0.0), deterministic=True)
    poor = holdout("poor", answers(0.3, 1), (0.5, 0.0), deterministic=True)
    tuned = holdout("tuned", answers(1.35, 3, 0.05), (2.0, 9.0), kind="tuned")
    scratch = holdout("scratch", answers(3.0, 3), (2.0, 9.0), kind="fresh", control=True)
    found = recommend([frozen, poor, tuned, scratch], margin=0.03)
    assert found.best.name == "tuned"
    assert found.recommended.name == "frozen"
    assert not may_still_win([frozen, poor, tuned], poor)
    assert may_still_win([frozen, poor, tuned], frozen)
