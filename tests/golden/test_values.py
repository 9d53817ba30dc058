"""The comparison of two trees sees what differs, and only that."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from values import differences, values_of

VERDICT = {"score": 0.5, "seconds": 3.0, "curve": [{"cut": "block1", "interval": [0.4, 0.6]}]}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "study" / "outcomes"
    folder.mkdir(parents=True)
    (tmp_path / "study" / "verdict.json").write_text(json.dumps(VERDICT))
    np.savez(folder / "study-00001.npz", fold0=np.eye(3, dtype=np.float32))
    return tmp_path


def test_a_folder_is_equal_to_itself_whatever_it_took(output: Path) -> None:
    before = values_of(output)
    slower = {**VERDICT, "seconds": 9.0, "score": 0.5 + 1e-9}
    (output / "study" / "verdict.json").write_text(json.dumps(slower))
    assert differences(before, values_of(output)) == []


def test_a_number_a_word_and_what_is_gone_or_new_are_named(output: Path) -> None:
    before = values_of(output)
    other = {"score": 0.51, "sentence": "x", "curve": [{"cut": "block2", "interval": [0.4]}]}
    (output / "study" / "verdict.json").write_text(json.dumps(other))
    assert differences(before, values_of(output)) == [
        "study/verdict.json curve[0].cut: 'block1' became 'block2'",
        "study/verdict.json curve[0].interval (how many): 2 became 1",
        "study/verdict.json curve[0].interval[1]: gone, was 0.6",
        "study/verdict.json score: 0.5 became 0.51",
        "study/verdict.json sentence: new, 'x'",
    ]


@pytest.mark.parametrize("change", [(0, 0, 1e-3), (0, 1, 2.0)])
def test_a_logit_or_a_prediction_that_moved_is_named(
    output: Path, change: tuple[int, int, float]
) -> None:
    before, (row, column, more) = values_of(output), change
    moved = np.eye(3, dtype=np.float32)
    moved[row, column] += more
    np.savez(output / "study" / "outcomes" / "study-00001.npz", fold0=moved)
    (said,) = differences(before, values_of(output))
    assert said.startswith("study/outcomes/study-00001.npz fold0: (3, 3)")
