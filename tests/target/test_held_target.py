"""What a Python program holds says by its own types what is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from tlsweep.errors import Refusal
from tlsweep.target import Target, held


class Held(Dataset[Any]):
    """Grey images, each with one of the given truths."""

    def __init__(self, truths: list[Any], unit: str | None = None) -> None:
        self.truths = truths
        if unit is not None:
            self.unit = unit

    def __len__(self) -> int:
        return len(self.truths)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return np.full((8, 8), i, np.uint8), self.truths[i]


def opened(truths: list[Any], unit: str | None = None) -> Target:
    return held.open(key=held.hold(Held(truths, unit)))


@pytest.mark.parametrize(
    ("truths", "kind", "outputs", "shape"),
    [
        ([0, 2, 1], "classes", 3, (3,)),
        ([torch.tensor(1), torch.tensor(0)], "classes", 2, (2,)),
        ([[True, False], [True, True]], "labels", 2, (2, 2)),
        ([torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])], "labels", 3, (2, 3)),
        ([[0.0, 1.0], [1.0, 1.0]], "labels", 2, (2, 2)),  # as torch's losses want them
        ([0.5, 2.0, 1.0], "numbers", 1, (3, 1)),
        ([torch.tensor([1.0, 2.0]), torch.tensor([0.0, 5.0])], "numbers", 2, (2, 2)),
    ],
)
def test_the_type_of_what_is_true_says_the_kind(
    truths: list[Any], kind: str, outputs: int, shape: tuple[int, ...]
) -> None:
    target = opened(truths)
    assert (target.task.kind, target.task.n_outputs) == (kind, outputs)
    assert target.labels.shape == shape
    assert len(target.output_names) == outputs


def test_numbers_are_in_the_datasets_own_unit() -> None:
    assert opened([1.0, 3.0], "mm").task.measure.unit.written(2.5) == "2.50 mm"
    assert opened([1.0, 3.0]).task.measure.unit.written(2.5) == "2.50"


@pytest.mark.parametrize(
    ("truths", "what"),
    [
        ([1.0, float("nan")], "not finite"),
        ([2.0, 2.0], "all the same"),
        ([0, -1], "class index -1"),
        ([[0, 2], [1, 0]], "shape"),
        (["ant", "bee"], "type"),
        ([[0.0], [0.0, 1.0]], "target=Held"),
    ],
)
def test_what_is_no_truth_is_refused_with_the_rule(truths: list[Any], what: str) -> None:
    with pytest.raises(Refusal, match=what):
        opened(truths)
