"""Smaller pools of one study: parts of the main one, with their own folds and the same report."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tlsweep.errors import Refusal
from tlsweep.stages.pools import open_smaller
from tlsweep.stages.session import Session

MakeSession = Callable[..., Session]


def test_a_smaller_pool_is_a_part_of_the_main_one_and_is_scored_on_the_same_report(
    session: MakeSession,
) -> None:
    main = session("sweep.pool_sizes=[30,all,20]")
    small, larger = open_smaller(main)
    assert [len(one.s.question.partition.pool) for one in (small, larger)] == [20, 30]
    assert [one.share for one in (small, larger)] == [20 / 60, 30 / 60]
    pools = [set(one.question.partition.pool.tolist()) for one in (small.s, larger.s, main)]
    assert pools[0] < pools[1] < pools[2]
    whole = main.question
    for one in (small.s, larger.s):
        assert one.question.target is whole.target
        assert one.question.partition.report.tolist() == whole.partition.report.tolist()


def test_each_smaller_pool_is_a_study_of_its_own_whose_jobs_have_its_size(
    session: MakeSession,
) -> None:
    main = session("sweep.pool_sizes=[20]", "sweep.confirm.splits=2", "sweep.final=all")
    (small,) = open_smaller(main)
    assert small.s.settings.study_name == "s.pool20"
    assert small.s.folder.is_dir()
    assert [one.name for one in small.studies.all] == [
        "s.pool20", "s.pool20.survey", "s.pool20.first", "s.pool20.confirm", "s.pool20.final",
    ]  # fmt: skip
    fits = [o for o in small.s.plain if o.startswith("target.fit_size=")]
    assert fits == ["target.fit_size=20"]
    chosen = small.s.settings.sweep  # what is asked of the main pool alone
    assert (chosen.confirm.splits, chosen.final, chosen.pool_sizes) == (0, "pool", ())


def test_smaller_pools_together_take_their_share_of_the_time(session: MakeSession) -> None:
    assert session("sweep.pool_sizes=[20,30,all]").smaller_share == pytest.approx(50 / 60)
    assert session().smaller_share == 0.0


@pytest.mark.parametrize("size", [60, 61])
def test_a_pool_that_is_not_smaller_is_refused(session: MakeSession, size: int) -> None:
    with pytest.raises(Refusal) as caught:
        open_smaller(session(f"sweep.pool_sizes=[20,{size}]"))
    (fault,) = caught.value.faults
    assert fault.value == f"sweep.pool_sizes: {size}"
    assert fault.rule == (
        "a smaller pool is a part of the 60 labelled images of this one; all is all"
    )
    assert fault.mend == "sweep.pool_sizes=[15,all]"


def test_a_pool_that_is_too_small_for_its_classes_is_refused(session: MakeSession) -> None:
    with pytest.raises(Refusal) as caught:
        open_smaller(session("sweep.pool_sizes=[3]"))
    assert caught.value.faults[0].value == "target.fit_size=3"
