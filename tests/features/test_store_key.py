"""A key's digest changes with everything that determines an entry, and with nothing else."""

from __future__ import annotations

import string
import subprocess
import sys
from typing import Any

import pytest
import torch
from activations import key
from hypothesis import assume, given
from hypothesis import strategies as st

from tlsweep.features import Key, rows_digest
from tlsweep.terms import ImageSpec

NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=6)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(string.printable)
    | st.floats(allow_nan=False)
)
VALUES = st.recursive(
    LEAVES.filter(lambda v: v not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(NAMES, VALUES, max_size=5)
IMAGE = ImageSpec(channels=3, size=32, mean=(0.5,) * 3, std=(0.25,) * 3, resize=36)


@given(FIELDS, st.randoms())
def test_the_order_of_fields_changes_nothing(fields: dict[str, Any], draw: Any) -> None:
    items = list(fields.items())
    draw.shuffle(items)
    assert Key.from_fields(dict(items)).digest == Key.from_fields(fields).digest


@given(FIELDS, FIELDS)
def test_keys_that_differ_anywhere_have_other_digests(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assume(repr(sorted(one.items())) != repr(sorted(other.items())))
    first, second = Key.from_fields(one), Key.from_fields(other)
    assert (first.digest == second.digest) == (first.text == second.text)
    if first.text == second.text:  # the order inside a mapping is all that is left to differ
        assert first.fields == second.fields == one == other


@pytest.mark.parametrize(
    "changed",
    [
        {"source": "5f1e"},
        {"cut": "block4"},
        {"spec": IMAGE},
        {"target": "77ab"},
        {"rows": rows_digest([1, 2, 3])},
        {"dtype": torch.float16},
        {"pooling": {"grid": 2}},
        {"view": 1},
        {"precision": "bf16-mixed"},
    ],
)
def test_each_field_of_a_key_counts(changed: dict[str, Any]) -> None:
    assert key(**changed).digest != key().digest
    assert key(**changed) != key()
    assert key(**changed) == key(**changed)


def test_the_versions_of_the_libraries_are_part_of_a_key() -> None:
    assert set(key().fields["versions"]) == {"tlsweep", "torch", "torchvision", "pillow"}
    assert key().fields["versions"]["torch"] == torch.__version__
    with pytest.raises(TypeError, match="found, not given"):
        key(versions={"torch": "1.0"})


def test_a_dataclass_counts_as_its_fields() -> None:
    again = ImageSpec(channels=3, size=32, mean=(0.5,) * 3, std=(0.25,) * 3, resize=36)
    assert key(spec=IMAGE) == key(spec=again)
    assert key(spec=IMAGE).fields["spec"]["mean"] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {3}}, torch.zeros(1)])
def test_a_value_that_has_no_one_text_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        key(pooling=value)


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError):
        key(pooling=float("nan"))


def test_another_process_finds_the_same_digest() -> None:
    code = f"from tlsweep.features import Key; print(Key.from_fields({key().fields!r}).digest)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == key().digest


@given(st.lists(st.integers(0, 2**40), max_size=8), st.lists(st.integers(0, 2**40), max_size=8))
def test_indices_share_a_digest_only_with_themselves_in_that_order(
    one: list[int], other: list[int]
) -> None:
    assert (rows_digest(one) == rows_digest(other)) == (one == other)


def test_indices_that_are_no_whole_numbers_are_refused() -> None:
    with pytest.raises(TypeError):
        rows_digest([0.5])
