"""The three splits are disjoint, stratified, nested in size, and follow the seed alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tlsweep.errors import Refusal
from tlsweep.target.partition import Partition, apportion, nested_shares, partition
from tlsweep.terms import Split

Labels = NDArray[np.int64]
FRACTIONS = {"select_fraction": 0.2, "report_fraction": 0.2}


@st.composite
def labels(draw: st.DrawFn, least: int = 5) -> Labels:
    """Shuffled labels of 2 to 8 classes, balanced or not, each with ``least`` images or more."""
    counts = draw(st.lists(st.integers(least, 60), min_size=2, max_size=8))
    y = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(draw(st.integers(0, 1000))).permutation(y)


fractions = st.floats(0.05, 0.4)
seeds = st.integers(0, 10_000)


def splits(parts: Partition) -> list[Labels]:
    return [parts[split] for split in Split]


def all_sorted_and_disjoint(parts: Partition, n: int) -> bool:
    together = np.concatenate(splits(parts))
    ordered = all(bool(np.all(np.diff(ids) > 0)) for ids in splits(parts))
    within = bool(np.all((together >= 0) & (together < n)))
    return ordered and within and len(np.unique(together)) == len(together)


@given(labels(), fractions, fractions, seeds)
def test_splits_are_sorted_disjoint_and_together_all_images(
    y: Labels, select: float, report: float, seed: int
) -> None:
    parts = partition(y, fit_size=None, select_fraction=select, report_fraction=report, seed=seed)
    assert all_sorted_and_disjoint(parts, len(y))
    assert sum(map(len, splits(parts))) == len(y)
    assert all(ids.dtype == np.int64 for ids in splits(parts))


@given(labels(least=3), fractions, fractions, seeds)
def test_every_class_has_an_image_in_every_split(
    y: Labels, select: float, report: float, seed: int
) -> None:
    smallest = len(np.unique(y))
    parts = partition(
        y, fit_size=smallest, select_fraction=select, report_fraction=report, seed=seed
    )
    for ids in splits(parts):
        assert set(y[ids]) == set(y)


@given(labels(least=20), fractions, fractions, seeds)
def test_sizes_are_the_fractions_of_the_whole_to_one_image(
    y: Labels, select: float, report: float, seed: int
) -> None:
    parts = partition(y, fit_size=None, select_fraction=select, report_fraction=report, seed=seed)
    assert abs(len(parts.report) - report * len(y)) <= 1
    assert abs(len(parts.select) - select * len(y)) <= 1


@given(labels(least=20), fractions, fractions, seeds)
def test_report_shares_are_within_one_image_of_proportional(
    y: Labels, select: float, report: float, seed: int
) -> None:
    parts = partition(y, fit_size=None, select_fraction=select, report_fraction=report, seed=seed)
    shares = np.bincount(y[parts.report])
    assert np.all(np.abs(shares - np.bincount(y) * len(parts.report) / len(y)) <= 1)
    rest = np.bincount(y) - shares
    taken = np.bincount(y[parts.select])
    assert np.all(np.abs(taken - rest * len(parts.select) / rest.sum()) <= 1)


@given(labels(), seeds)
def test_one_seed_draws_one_partition(y: Labels, seed: int) -> None:
    one, two = (partition(y, fit_size=None, seed=seed, **FRACTIONS) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(splits(one), splits(two), strict=True))


@given(seeds)
def test_another_seed_draws_another_partition(seed: int) -> None:
    y = np.arange(200) % 4
    one, two = (partition(y, fit_size=40, seed=s, **FRACTIONS) for s in (seed, seed + 1))
    assert all(not np.array_equal(a, b) for a, b in zip(splits(one), splits(two), strict=True))


@given(labels(), seeds, st.data())
def test_a_bigger_fit_split_holds_the_smaller_and_moves_no_other(
    y: Labels, seed: int, data: st.DataObject
) -> None:
    whole = partition(y, fit_size=None, seed=seed, **FRACTIONS)
    sizes = st.integers(len(np.unique(y)), len(whole.fit))
    few, many = sorted((data.draw(sizes), data.draw(sizes)))
    small, big = (partition(y, fit_size=size, seed=seed, **FRACTIONS) for size in (few, many))
    assert (len(small.fit), len(big.fit)) == (few, many)
    assert set(small.fit) <= set(big.fit) <= set(whole.fit)
    for parts in (small, big):
        assert np.array_equal(parts.select, whole.select)
        assert np.array_equal(parts.report, whole.report)


@given(st.lists(st.integers(1, 80), min_size=2, max_size=9), seeds, st.data())
def test_nested_shares_stay_within_one_image_of_proportional(
    counts: list[int], seed: int, data: st.DataObject
) -> None:
    n = np.array(counts)
    size = data.draw(st.integers(len(n), int(n.sum())))
    shares = nested_shares(n, size, np.random.default_rng(seed))
    quota = n * size / n.sum()
    assert shares.sum() == size
    assert np.all((shares >= 1) & (shares <= n))
    assert np.all(shares <= np.maximum(1, np.ceil(quota)))
    # The first image of each class comes first; where all are due one, no class is behind either.
    if np.all(quota >= 1):
        assert np.all(shares >= np.floor(quota))


@given(st.lists(st.integers(3, 80), min_size=2, max_size=9), st.data())
def test_apportion_shares_exactly_what_the_bounds_can_hold(
    counts: list[int], data: st.DataObject
) -> None:
    n = np.array(counts)
    size = data.draw(st.integers(1, int(n.sum())))
    shares = apportion(n, size, most=n - 2)
    assert shares.sum() == min(max(size, len(n)), (n - 2).sum())
    assert np.all((shares >= 1) & (shares <= n - 2))


@given(labels(), seeds, st.permutations(list(Split)))
@settings(max_examples=30)
def test_the_order_in_which_splits_are_given_does_not_matter(
    y: Labels, seed: int, order: list[Split]
) -> None:
    own = partition(y, fit_size=None, seed=1, **FRACTIONS)
    one = partition(
        y, fit_size=None, seed=seed, given={split: own[split] for split in Split}, **FRACTIONS
    )
    two = partition(
        y, fit_size=None, seed=seed, given={split: own[split] for split in order}, **FRACTIONS
    )
    assert all(np.array_equal(a, b) for a, b in zip(splits(one), splits(two), strict=True))
    assert all(np.array_equal(one[split], own[split]) for split in Split)


Y = np.arange(300) % 3
TRAIN, VAL, TEST = np.arange(180), np.arange(180, 240), np.arange(240, 300)


def test_a_given_test_part_is_quoted_and_select_is_carved_from_train() -> None:
    given = {Split.FIT: np.concatenate([TRAIN, VAL]), Split.REPORT: TEST}
    parts = partition(Y, fit_size=None, seed=0, given=given, **FRACTIONS)
    assert np.array_equal(parts.report, TEST)
    assert len(parts.select) == 48  # a fifth of the 240 that are not set apart
    assert all_sorted_and_disjoint(parts, 300)


def test_given_train_val_and_test_are_kept() -> None:
    given = {Split.FIT: TRAIN, Split.SELECT: VAL, Split.REPORT: TEST}
    parts = partition(Y, fit_size=90, seed=0, given=given, **FRACTIONS)
    assert np.array_equal(parts.select, VAL)
    assert np.array_equal(parts.report, TEST)
    assert len(parts.fit) == 90
    assert set(parts.fit) <= set(TRAIN)


def test_with_train_and_val_alone_val_is_quoted_and_select_is_carved_from_train() -> None:
    rest = np.concatenate([TRAIN, TEST])
    parts = partition(
        Y, fit_size=None, seed=0, given={Split.FIT: rest, Split.SELECT: VAL}, **FRACTIONS
    )
    assert np.array_equal(parts.report, VAL)
    assert set(parts.select) < set(rest)
    assert all_sorted_and_disjoint(parts, 300)


def test_fractions_of_given_splits_are_not_looked_at() -> None:
    given = {Split.FIT: TRAIN, Split.SELECT: VAL, Split.REPORT: TEST}
    parts = partition(Y, fit_size=None, select_fraction=0, report_fraction=7, seed=0, given=given)
    assert np.array_equal(parts.fit, TRAIN)


def refused(y: object, **changes: object) -> list[tuple[str, str, str]]:
    options = {"fit_size": None, "seed": 0, **FRACTIONS, **changes}
    with pytest.raises(Refusal) as caught:
        partition(y, **options)  # type: ignore[arg-type]
    return [(fault.value, fault.rule, fault.mend) for fault in caught.value.faults]


def test_a_fit_size_that_is_not_there_is_refused_with_the_number_that_is() -> None:
    ((value, rule, mend),) = refused(Y, fit_size=181)
    assert value == "target.fit_size=181"
    assert "and 180, the images left" in rule
    assert mend.startswith("target.fit_size=180")


def test_a_fit_size_below_one_image_a_class_is_refused() -> None:
    ((_, rule, mend),) = refused(Y, fit_size=2)
    assert "between 3, one image of each class" in rule
    assert mend.startswith("target.fit_size=3")


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_fractions_out_of_range_are_all_refused_at_once(fraction: float) -> None:
    found = refused(Y, select_fraction=fraction, report_fraction=fraction)
    assert [value.split("=")[0] for value, _, _ in found] == [
        "target.select_fraction",
        "target.report_fraction",
    ]


def test_fractions_that_leave_nothing_to_fit_are_refused() -> None:
    ((value, rule, _),) = refused(Y, select_fraction=0.5, report_fraction=0.5)
    assert value == "target.select_fraction=0.5 target.report_fraction=0.5"
    assert "together less than 1" in rule


def test_one_class_alone_is_refused() -> None:
    ((_, rule, _),) = refused([1] * 50)
    assert "at least 2 classes" in rule


def test_classes_with_too_few_images_are_named() -> None:
    ((value, rule, _),) = refused([0] * 20 + [1] * 2 + [2] * 3 + [3])
    assert value == "too few images (the least is 1) of class 1, 3"
    assert "has 3 images or more" in rule


def test_a_class_that_only_the_report_split_has_is_named() -> None:
    y = np.append(Y, [9])
    given = {Split.FIT: TRAIN, Split.REPORT: np.array([240, 300])}
    ((value, _, _),) = refused(y, given=given)
    assert value == "class 9 is in the given report split alone"


@pytest.mark.parametrize("report", [np.array([5, 240]), np.array([299, 300]), np.array([-1])])
def test_given_splits_that_overlap_or_leave_the_range_are_refused(report: Labels) -> None:
    ((_, rule, _),) = refused(Y, given={Split.FIT: TRAIN, Split.REPORT: report})
    assert "no image is in two given splits" in rule


def test_no_images_are_refused() -> None:
    assert refused([])[0][0] == "0 class(es) among 0 images to fit"


def test_partitioning_loads_no_torch() -> None:
    code = "import sys, tlsweep.target.partition, tlsweep.target; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
