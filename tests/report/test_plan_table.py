"""Before a plan trains, each of its blocks is told, and what is trained of it adds up."""

from __future__ import annotations

import re

import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

from tlsweep.cli import conf_folder
from tlsweep.config.read import read
from tlsweep.report.table import plan_table
from tlsweep.trial import describe, resolve


@pytest.mark.parametrize(
    ("plan", "states"),
    [
        (("plan=transfer_tuned", "plan.keep=2", "plan.freeze=1"), ["frozen", "tuned", "fresh"]),
        (("plan=truncate", "plan.keep=2"), ["frozen", "dropped"]),
        (("plan=adapters", "plan.adapt=1..2"), ["frozen", "adapted"]),
        (("plan=scratch",), ["fresh"]),
    ],
)
def test_the_table_has_each_block_with_its_state_and_what_is_trained_adds_up(
    lines: tuple[str, ...], plan: tuple[str, ...], states: list[str]
) -> None:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        trial = resolve(read(compose("config", overrides=[*lines, *plan])))
    console = Console(width=120, record=True)
    console.print(plan_table(trial))
    printed = [line.split() for line in console.export_text().splitlines()]
    rows = [line for line in printed if {*line} & {*states, "new"}]
    assert {state for state in states for line in rows if state in line} == {*states}
    trained = sum(int(line[-2].replace(",", "")) for line in rows if "dropped" not in line)
    assert trained == describe(trial).trained_parameters
    kept = [line for line in rows if "dropped" not in line]
    assert len(kept) == trial.plan.regrow - len(trial.plan.left_out) + 1  # and the head
    assert all(re.fullmatch(r"\d+(x\d+)*", line[-1]) for line in kept)
