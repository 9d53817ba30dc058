"""What is tried first of several sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tlsweep.stages.searching import first_of
from tlsweep.stages.session import Session
from tlsweep.study.ledger import Item


def test_scratch_is_tried_once_an_architecture_and_what_keeps_something_of_each_source(
    session: Callable[..., Session],
) -> None:
    own = session()
    (one,) = own.sources
    two = replace(one, called="two", overrides=("seed=1",))  # other weights of one network
    s = replace(own, sources=(one, two))
    plans = ("plan=scratch", "plan=finetune")
    first = {
        name: [Item.of((*chosen, plan)) for plan in plans]
        for name, chosen in ((one.called, ()), ("two", ("seed=1",)))
    }
    found = [item.overrides for item in first_of(s, ["two", one.called], first)]
    assert found == [("seed=1", "plan=scratch"), ("seed=1", "plan=finetune"), ("plan=finetune",)]
    assert first_of(s, [one.called], first) == first[one.called]
