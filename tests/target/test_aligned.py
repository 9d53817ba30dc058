"""Another target's labels, as the one that is learned from has them."""

from __future__ import annotations

import numpy as np
import pytest

from tlsweep.errors import Refusal
from tlsweep.target.aligned import aligned
from tlsweep.target.texts import TextTarget
from tlsweep.task import Labels

NAMES = ("ant", "bee", "wasp")


def texts(names: tuple[str, ...], labels: list[int]) -> TextTarget:
    rows = [f"text {i} {names}" for i in range(len(labels))]
    return TextTarget("t", names, rows, np.array(labels, np.int64))


def several(names: tuple[str, ...], labels: list[list[bool]]) -> TextTarget:
    rows = [f"text {i} {names}" for i in range(len(labels))]
    truth = np.array(labels, dtype=bool)
    return TextTarget("t", names, rows, truth, task=Labels(len(names)))


def test_classes_keep_their_names_whatever_their_order_and_some_may_lack() -> None:
    learned = texts(NAMES, [0, 1, 2])
    other = texts(("wasp", "ant"), [0, 1, 1, 0])
    found = aligned(other, learned, "target.shift=b.csv")
    assert found.output_names == NAMES
    assert found.labels.tolist() == [2, 0, 0, 2]
    assert other.labels.tolist() == [0, 1, 1, 0]  # left as they were
    assert found.task is learned.task
    assert found.fingerprint != other.fingerprint


def test_columns_of_labels_keep_their_names() -> None:
    learned = several(("red", "big"), [[True, False]])
    other = several(("big", "red"), [[True, False], [True, True]])
    found = aligned(other, learned, "target.shift=b.csv")
    assert found.labels.tolist() == [[False, True], [True, True]]


def test_a_class_that_is_not_learned_is_refused_with_the_nearest_that_is() -> None:
    with pytest.raises(Refusal) as caught:
        aligned(texts(("ant", "bees"), [0, 1]), texts(NAMES, [0, 1, 2]), "target.shift=b.csv")
    (fault,) = caught.value.faults
    assert fault.value == "target.shift=b.csv: classes bees"
    assert fault.rule == "classes of it: ant, bee, wasp"
    assert fault.mend == "rename them as these are called: bees as bee?"


def test_a_label_that_lacks_and_another_kind_of_answer_are_refused() -> None:
    learned = several(("red", "big"), [[True, False]])
    with pytest.raises(Refusal, match="each of its examples has all labels: red, big"):
        aligned(several(("red",), [[True]]), learned, "target.shift=b.csv")
    with pytest.raises(Refusal, match="classes of texts"):
        aligned(texts(NAMES, [0]), learned, "target.shift=b.csv")
