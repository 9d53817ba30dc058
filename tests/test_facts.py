"""What a trial notes of itself comes back as it was, or is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsweep.facts import LAYOUT, Facts
from tlsweep.plan import TransferPlan
from tlsweep.terms import BlockState

ONE = Facts(
    "surgical", TransferPlan((BlockState.FROZEN, BlockState.TUNED, BlockState.FROZEN)),
    ("input", "stem", "body", "top"), "net", 900, 310, 5_000,
    3e-3, 0.1, "linear", None, "none", 3, 2,
)  # fmt: skip


@st.composite
def found(draw: st.DrawFn) -> Facts:
    states = draw(st.lists(st.sampled_from(list(BlockState)), max_size=8))
    plan = TransferPlan(
        tuple(states), draw(st.booleans()), draw(st.integers(1, 64)), draw(st.floats(0.1, 9.0))
    )
    penalty = None if plan.trained else draw(st.none() | st.floats(1e-6, 1e6))
    return Facts(
        draw(st.text(max_size=9)), plan, tuple(f"c{i}" for i in range(len(states) + 1)),
        draw(st.text(max_size=9)), 1, 2, 3,
        draw(st.floats(1e-9, 9.0)), 1.0, "mlp", penalty, "none", 0,
        draw(st.none() | st.integers(0, 9)), draw(st.integers(0, 99)), draw(st.integers(0, 99)),
        draw(st.sets(st.integers(0, 7)).map(sorted).map(tuple)),
    )  # fmt: skip


@given(found())
def test_facts_come_back_from_json_as_they_were(facts: Facts) -> None:
    assert Facts.from_json(json.loads(json.dumps(facts.as_json()))) == facts


@pytest.mark.parametrize(
    "change",
    [
        {"layout": LAYOUT - 1},
        {"layout": None},
        {"states": ["warm", "tuned", "frozen"]},
        {"another": 1},
    ],
)
def test_what_another_version_wrote_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"layout|BlockState|not the facts"):
        Facts.from_json({**ONE.as_json(), **change})
    with pytest.raises(ValueError, match="not the facts"):
        Facts.from_json({"keep": 3})


def test_blocks_that_never_thawed_are_named_beside_the_states_of_the_others() -> None:
    never = replace(ONE, not_thawed=(0, 2))
    assert never.regions == {"tuned": "body", "never thawed": "stem, top"}
    before = {key: value for key, value in ONE.as_json().items() if key != "not_thawed"}
    assert Facts.from_json(before) == ONE  # as it was written before there was such a thing


def test_names_are_those_of_the_plans_cut_points() -> None:
    assert (ONE.freeze_name, ONE.keep_name, ONE.regrow_name) == ("stem", "top", "top")
    assert ONE.regions == {"tuned": "body"}
    assert ONE.state == "tuned"


def test_a_probe_is_deterministic_but_for_random_weights() -> None:
    plan = TransferPlan((BlockState.FROZEN,) * 3)
    probe = replace(ONE, plan=plan, probe_penalty=0.1)
    assert probe.is_deterministic
    assert not ONE.is_deterministic
    assert not replace(probe, plan=TransferPlan(plan.states, random_weights=True)).is_deterministic
    assert not replace(probe, probe_penalty=None).is_deterministic  # an mlp head
