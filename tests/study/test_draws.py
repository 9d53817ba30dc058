"""A sampler's draws are the same however often, and wherever, a search is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from tlsweep.study import choice
from tlsweep.study.crew import Batches, Ended
from tlsweep.study.draws import Sampling
from tlsweep.study.ledger import Ledger
from tlsweep.study.queue import Job
from tlsweep.study.space import Space

N = 12
TEXTS = ("x=tag(log, interval(0.001,1))", "k=range(0,5)", "c=choice(a,b,d)")
MakeSpace = Callable[..., Space]
Draws = list[tuple[str, ...]]


class Interrupted(BaseException):
    """Stands for Ctrl-C."""


def value_of(job: Job) -> float:
    """How good a point is: the same whenever it is tried."""
    told = dict(o.split("=") for o in job.overrides)
    return -((float(told["x"]) - 0.1) ** 2) - 0.01 * int(told["k"]) + 0.1 * (told["c"] == "b")


def drawn(
    url: str,
    where: Space,
    settings: Mapping[str, Any],
    *,
    stop_at: Sequence[int] = (),
    n_jobs: int = 1,
    turned: bool = False,
    seed: int = 0,
) -> Draws:
    """The draws of a search, in their order. stop_at: trials in which it is interrupted."""
    stops = list(stop_at)

    def launch(jobs: Sequence[Job]) -> list[Ended]:
        if stops and ledger.begun() > stops[0]:
            del stops[0]
            raise Interrupted
        order = reversed(jobs) if turned else jobs
        for job in order:
            ledger.study.tell(job.number, value_of(job), skip_if_finished=True)
        return [Ended(value_of(job)) for job in jobs]

    while True:
        sampling = Sampling(settings, seed, known=choice.OTHER_SAMPLERS)
        ledger = Ledger(url, "s", sampling).open(resume=True)
        try:
            ledger.search(where, Batches(launch, n_jobs), n_trials=N, max_failure_rate=0.0)
            break
        except Interrupted:
            continue
    done = sorted(ledger.completed(), key=lambda t: t.user_attrs["draw"])
    assert [t.user_attrs["draw"] for t in done] == list(range(N))
    return [tuple(t.user_attrs["overrides"]) for t in done]


@pytest.fixture
def urls(tmp_path: Any) -> list[str]:
    """Two databases."""
    return [f"sqlite:///{tmp_path}/{name}.db" for name in "ab"]


@pytest.mark.parametrize("name", choice.SAMPLERS)
def test_an_interrupted_search_draws_what_an_unbroken_one_draws(
    name: str, urls: list[str], space: MakeSpace
) -> None:
    settings = {"name": name}
    if name == "tpe":
        settings["n_startup_trials"] = 4  # type: ignore[assignment]
    where = space(*TEXTS)
    whole = drawn(urls[0], where, settings)
    assert len(set(whole)) >= N - 2  # the premise: draws differ
    assert drawn(urls[1], where, settings, stop_at=(0, 3, 3, 7, 9)) == whole


@pytest.mark.parametrize("name", ["tpe", "qmc"])
def test_which_of_several_at_a_time_ends_first_changes_no_draw(
    name: str, urls: list[str], space: MakeSpace
) -> None:
    settings = {"name": name}
    where = space(*TEXTS)
    whole = drawn(urls[0], where, settings, n_jobs=3)
    assert drawn(urls[1], where, settings, n_jobs=3, turned=True, stop_at=(4, 5)) == whole


def test_a_draw_knows_how_those_before_it_ended_and_with_several_at_a_time_fewer_of_them(
    urls: list[str], space: MakeSpace
) -> None:
    settings = {"name": "tpe", "n_startup_trials": 2}
    where = space(*TEXTS)
    one, three = (
        drawn(url, where, settings, n_jobs=n) for url, n in zip(urls, (1, 3), strict=True)
    )
    assert one[:2] == three[:2]
    assert one != three


@pytest.mark.parametrize("name", ["tpe", "random", "qmc"])
def test_another_seed_draws_other_points_and_a_seed_of_the_sampler_stands_above_it(
    name: str, urls: list[str], space: MakeSpace, tmp_path: Any
) -> None:
    where, third = space(*TEXTS), f"sqlite:///{tmp_path}/c.db"
    given = {"name": name, "seed": 5}
    first = drawn(urls[0], where, {"name": name}, seed=5)
    assert drawn(urls[1], where, {"name": name}, seed=6) != first
    assert drawn(third, where, given, seed=6) == first
