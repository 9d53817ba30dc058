"""A part that is measured anew takes the place of its old tables, and of no others."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parent / "truth"


@pytest.fixture(scope="module")
def truth() -> ModuleType:
    spec = importlib.util.spec_from_file_location("truth_main", FOLDER / "__main__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_parts_stand_in_their_order_and_one_alone_is_replaced(truth: ModuleType) -> None:
    first = truth.put("", {"sweeps": "**S**\n\n| a |", "real": "**R**"})
    assert first.index("## real") < first.index("## sweeps")
    again = truth.put(first, {"real": "**other**\n\n- note"})
    assert again == first.replace("**R**", "**other**\n\n- note")
    assert truth.put(again, {}) == again


def test_what_is_written_down_is_kept_as_it_is(truth: ModuleType) -> None:
    text = truth.TABLE.read_text()
    assert truth.put(text, {}) == text
