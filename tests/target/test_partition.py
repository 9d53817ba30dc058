"""Pool, folds and report split: disjoint, stratified, nested in size, twins never apart."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
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
fold_counts = st.one_of(st.just("auto"), st.integers(1, 7))


def sorted_and_unique(ids: Labels, n: int) -> bool:
    return bool(np.all(np.diff(ids) > 0) and np.all((ids >= 0) & (ids < n)))


def is_sound(parts: Partition, n: int) -> bool:
    """All sorted, pool and report disjoint, and the folds disjoint parts of the pool."""
    whole = sorted_and_unique(np.sort(np.concatenate([parts.pool, parts.report])), n)
    held_out = np.sort(parts.held_out)
    within = sorted_and_unique(held_out, n) and set(held_out) <= set(parts.pool)
    kept = [parts.pool, parts.report, *parts.folds]
    return whole and within and all(sorted_and_unique(ids, n) for ids in kept)


def equal(one: Partition, two: Partition) -> bool:
    pairs = zip(one.folds, two.folds, strict=True)
    return (
        np.array_equal(one.pool, two.pool)
        and np.array_equal(one.report, two.report)
        and all(np.array_equal(a, b) for a, b in pairs)
    )


@given(labels(), fractions, fractions, seeds, fold_counts)
def test_pool_and_report_are_disjoint_and_together_all_images(
    y: Labels, select: float, report: float, seed: int, folds: int
) -> None:
    parts = partition(
        y, fit_size=None, select_fraction=select, report_fraction=report, seed=seed, folds=folds
    )
    assert is_sound(parts, len(y))
    assert len(parts.pool) + len(parts.report) == len(y)
    assert all(ids.dtype == np.int64 for ids in (parts.pool, parts.report, *parts.folds))


@given(labels(), seeds, st.integers(2, 7))
def test_folds_hold_out_each_image_of_the_pool_once(y: Labels, seed: int, folds: int) -> None:
    parts = partition(y, fit_size=None, seed=seed, folds=folds, **FRACTIONS)
    assert np.array_equal(np.sort(parts.held_out), parts.pool)
    for k in range(len(parts.folds)):
        fit, select = parts.rows(Split.FIT, k), parts.rows(Split.SELECT, k)
        assert np.array_equal(np.sort(np.concatenate([fit, select])), parts.pool)
        assert np.array_equal(parts.pool[parts.places(Split.FIT, k)], fit)
        assert np.array_equal(parts.pool[parts.places(Split.SELECT, k)], select)


def test_where_nothing_is_held_out_all_of_the_pool_is_fitted() -> None:
    parts = partition(np.arange(90) % 3, fit_size=30, seed=0, **FRACTIONS)
    assert np.array_equal(parts.rows(Split.FIT, None), parts.pool)
    assert np.array_equal(parts.rows(Split.POOL, None), parts.pool)
    assert len(parts.rows(Split.SELECT, None)) == 0
    assert np.array_equal(parts.rows(Split.REPORT, None), parts.report)


@given(labels(), seeds, st.integers(2, 7))
def test_folds_and_classes_in_them_differ_by_one_image_at_most(
    y: Labels, seed: int, folds: int
) -> None:
    parts = partition(y, fit_size=None, seed=seed, folds=folds, **FRACTIONS)
    sizes = [len(fold) for fold in parts.folds]
    assert max(sizes) - min(sizes) <= 1
    counts = np.stack([np.bincount(y[fold], minlength=y.max() + 1) for fold in parts.folds])
    assert np.all(counts.max(0) - counts.min(0) <= 1)


@given(labels(least=3), fractions, fractions, seeds, fold_counts)
def test_every_class_is_fitted_held_out_and_reported(
    y: Labels, select: float, report: float, seed: int, folds: int
) -> None:
    smallest = 2 * len(np.unique(y))
    parts = partition(
        y, fit_size=smallest, select_fraction=select, report_fraction=report, seed=seed, folds=folds
    )
    assert set(y[parts.report]) == set(y)
    for k in range(len(parts.folds)):
        assert set(y[parts.rows(Split.FIT, k)]) == set(y)
        assert set(y[parts.rows(Split.SELECT, k)]) == set(y)


@given(labels(least=20), fractions, fractions, seeds)
def test_report_and_holdout_are_their_fractions_within_one_image_of_proportional(
    y: Labels, select: float, report: float, seed: int
) -> None:
    parts = partition(
        y, fit_size=None, select_fraction=select, report_fraction=report, seed=seed, folds=1
    )
    (held_out,) = parts.folds
    for part, whole, fraction in ((parts.report, y, report), (held_out, y[parts.pool], select)):
        proportional = fraction * np.unique(whole, return_counts=True)[1]
        lifted = (1 - proportional).clip(0).sum()  # of classes that would have no image
        assert -1 <= len(part) - proportional.sum() <= 1 + lifted
    shares = np.bincount(y[parts.report])
    assert np.all(np.abs(shares - np.bincount(y) * len(parts.report) / len(y)) <= 1)
    rest = np.bincount(y) - shares
    assert np.all(np.abs(np.bincount(y[held_out]) - rest * len(held_out) / rest.sum()) <= 1)


@given(labels(), seeds)
def test_one_seed_draws_one_partition(y: Labels, seed: int) -> None:
    one, two = (partition(y, fit_size=None, seed=seed, **FRACTIONS) for _ in range(2))
    assert equal(one, two)


@given(seeds)
def test_another_seed_draws_another_partition(seed: int) -> None:
    y = np.arange(200) % 4
    one, two = (partition(y, fit_size=40, seed=s, **FRACTIONS) for s in (seed, seed + 1))
    assert not np.array_equal(one.pool, two.pool)
    assert not np.array_equal(one.report, two.report)


@given(labels(), seeds, st.data())
def test_a_bigger_pool_holds_the_smaller_and_moves_no_image_of_the_report_split(
    y: Labels, seed: int, data: st.DataObject
) -> None:
    whole = partition(y, fit_size=None, seed=seed, **FRACTIONS)
    sizes = st.integers(2 * len(np.unique(y)), len(whole.pool))
    few, many = sorted((data.draw(sizes), data.draw(sizes)))
    small, big = (partition(y, fit_size=size, seed=seed, **FRACTIONS) for size in (few, many))
    assert (len(small.pool), len(big.pool)) == (few, many)
    assert set(small.pool) <= set(big.pool) <= set(whole.pool)
    for parts in (small, big):
        assert np.array_equal(parts.report, whole.report)


@pytest.mark.parametrize(("n", "folds"), [(1_999, 5), (2_000, 1)])
def test_below_two_thousand_images_there_are_five_folds_and_above_one_holdout(
    n: int, folds: int
) -> None:
    y = np.arange(n) % 2
    given = {Split.FIT: np.arange(n), Split.REPORT: np.arange(n, n + 20)}
    parts = partition(np.append(y, np.arange(20) % 2), fit_size=None, seed=0, given=given,
                      **FRACTIONS)  # fmt: skip
    assert len(parts.folds) == folds
    if folds == 1:
        assert len(parts.folds[0]) == 0.2 * n


def test_a_class_with_fewer_images_than_folds_makes_fewer_folds_and_is_named() -> None:
    y = np.repeat([0, 2, 5], [40, 40, 4])
    options = {"fit_size": None, "seed": 0, **FRACTIONS}
    parts = partition(y, **options, class_names=["ant", "-", "bee", "-", "-", "wasp"])  # type: ignore[arg-type]
    assert len(parts.folds) == 3  # one of the four wasps is quoted
    assert parts.said == ("3 folds in place of 5: class wasp has 3 images",)
    assert partition(y, **options).said == ("3 folds in place of 5: class 5 has 3 images",)  # type: ignore[arg-type]
    assert partition(y, folds=3, **options).said == ()  # type: ignore[arg-type]


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


@given(labels(), seeds, st.permutations([Split.FIT, Split.SELECT, Split.REPORT]))
@settings(max_examples=30)
def test_the_order_in_which_splits_are_given_does_not_matter(
    y: Labels, seed: int, order: list[Split]
) -> None:
    own = partition(y, fit_size=None, seed=1, folds=1, **FRACTIONS)
    given = {split: own.rows(split) for split in order}
    parts = partition(y, fit_size=None, seed=seed, given=given, **FRACTIONS)
    assert equal(parts, own)


Y = np.arange(300) % 3
TRAIN, VAL, TEST = np.arange(180), np.arange(180, 240), np.arange(240, 300)
ALL_GIVEN = {Split.FIT: TRAIN, Split.SELECT: VAL, Split.REPORT: TEST}


def test_a_given_test_part_is_quoted_and_all_else_is_the_pool() -> None:
    given = {Split.FIT: np.concatenate([TRAIN, VAL]), Split.REPORT: TEST}
    parts = partition(Y, fit_size=None, seed=0, given=given, **FRACTIONS)
    assert np.array_equal(parts.report, TEST)
    assert [len(fold) for fold in parts.folds] == [48] * 5
    assert is_sound(parts, 300)


def test_a_given_val_part_is_the_one_holdout_and_fit_size_draws_from_train_alone() -> None:
    parts = partition(Y, fit_size=90, seed=0, given=ALL_GIVEN, **FRACTIONS)
    (held_out,) = parts.folds
    assert np.array_equal(held_out, VAL)
    assert np.array_equal(parts.report, TEST)
    assert len(parts.rows(Split.FIT)) == 90
    assert set(parts.rows(Split.FIT)) < set(TRAIN)
    assert len(parts.pool) == 150


def test_with_a_number_of_folds_train_and_val_are_cut_together() -> None:
    parts = partition(Y, fit_size=None, seed=0, given=ALL_GIVEN, folds=4, **FRACTIONS)
    assert np.array_equal(parts.pool, np.concatenate([TRAIN, VAL]))
    assert [len(fold) for fold in parts.folds] == [60] * 4
    assert not any(np.array_equal(fold, VAL) for fold in parts.folds)
    assert np.array_equal(parts.report, TEST)


def test_with_train_and_val_alone_val_is_quoted_and_the_rest_is_the_pool() -> None:
    rest = np.concatenate([TRAIN, TEST])
    given = {Split.FIT: rest, Split.SELECT: VAL}
    parts = partition(Y, fit_size=None, seed=0, given=given, **FRACTIONS)
    assert np.array_equal(parts.report, VAL)
    assert np.array_equal(parts.pool, rest)
    assert is_sound(parts, 300)


def test_the_report_fraction_of_a_given_test_part_is_not_looked_at() -> None:
    parts = partition(
        Y, fit_size=None, select_fraction=0.2, report_fraction=7, seed=0, given=ALL_GIVEN
    )
    assert np.array_equal(parts.rows(Split.FIT), TRAIN)


# ------------------------------------------------------------------ twins
@st.composite
def with_twins(draw: st.DrawFn) -> tuple[Labels, Labels]:
    """Labels, and for each image the first one with its content; each class has six contents."""
    classes = draw(st.integers(2, 5))
    copies = draw(st.lists(st.integers(1, 4), min_size=6 * classes, max_size=6 * classes))
    content = np.repeat(np.arange(6 * classes), copies)
    order = np.random.default_rng(draw(st.integers(0, 1000))).permutation(len(content))
    content = content[order]
    _, first, group = np.unique(content, return_index=True, return_inverse=True)
    return content % classes, first[group]


@given(with_twins(), seeds, fold_counts, st.booleans())
def test_images_with_the_same_content_are_never_apart(
    images: tuple[Labels, Labels], seed: int, folds: int, small: bool
) -> None:
    y, same_as = images
    size = 2 * len(np.unique(y)) + 1 if small else None
    parts = partition(y, fit_size=size, seed=seed, folds=folds, same_as=same_as, **FRACTIONS)
    assert is_sound(parts, len(y))
    assert not set(same_as[parts.pool]) & set(same_as[parts.report])
    for k in range(len(parts.folds)):
        fit, select = parts.rows(Split.FIT, k), parts.rows(Split.SELECT, k)
        assert not set(same_as[fit]) & set(same_as[select])
    assert size is None or len(set(same_as[parts.pool])) == size
    if size is None:
        assert len(parts.pool) + len(parts.report) == len(y)


@given(with_twins(), seeds, st.sampled_from(["auto", 3]), st.booleans())
def test_of_given_parts_the_later_ones_keep_what_they_share_with_earlier_ones(
    images: tuple[Labels, Labels], seed: int, folds: int, val: bool
) -> None:
    y, same_as = images
    # a content of each class is in every part; the rest is in train
    heads = np.unique(same_as)
    report = np.array([heads[y[heads] == label][0] for label in np.unique(y)])
    select = np.array([heads[y[heads] == label][1] for label in np.unique(y)])
    given = {Split.REPORT: report, **({Split.SELECT: select} if val else {})}
    parts = partition(
        y, fit_size=None, seed=seed, folds=folds, given=given, same_as=same_as, **FRACTIONS
    )
    assert np.array_equal(parts.report, np.sort(report))
    assert not set(same_as[parts.pool]) & set(same_as[report])
    for k in range(len(parts.folds)):
        assert not set(same_as[parts.rows(Split.FIT, k)]) & set(
            same_as[parts.rows(Split.SELECT, k)]
        )
    repeated = np.isin(same_as, same_as[report]).sum() - len(report)
    if repeated and (not val or folds != "auto"):
        assert parts.said[0].startswith(f"{repeated} images of the fit split are left out")
    if folds != "auto":  # train and val are one: what they share is not left out
        assert len(parts.pool) == len(y) - len(report) - repeated


def test_a_val_part_of_which_all_is_in_the_test_part_too_is_none() -> None:
    y, same_as = np.append(Y, Y[TEST]), np.append(np.arange(300), TEST)
    given = {Split.FIT: np.arange(240), Split.SELECT: np.arange(300, 360), Split.REPORT: TEST}
    parts = partition(y, fit_size=None, seed=0, given=given, same_as=same_as, **FRACTIONS)
    assert [len(fold) for fold in parts.folds] == [48] * 5
    assert parts.said == (
        "60 images of the select split are left out: their content is also in a split that is"
        " scored",
    )


def refused(y: object, **changes: object) -> list[tuple[str, str, str]]:
    options = {"fit_size": None, "seed": 0, **FRACTIONS, **changes}
    with pytest.raises(Refusal) as caught:
        partition(y, **options)  # type: ignore[arg-type]
    return [(fault.value, fault.rule, fault.mend) for fault in caught.value.faults]


def test_a_fit_size_that_is_not_there_is_refused_with_the_number_that_is() -> None:
    ((value, rule, mend),) = refused(Y, fit_size=241)
    assert value == "target.fit_size=241"
    assert "and 240, the images left" in rule
    assert mend.startswith("target.fit_size=240")


def test_a_pool_below_two_images_a_class_is_refused() -> None:
    ((_, rule, mend),) = refused(Y, fit_size=5)
    assert "between 6, 2 images of each class" in rule
    assert mend.startswith("target.fit_size=6")


def test_beside_a_given_val_part_one_image_a_class_is_enough() -> None:
    ((_, rule, mend),) = refused(Y, fit_size=2, given=ALL_GIVEN)
    assert "between 3, one image of each class, and 180" in rule
    assert mend.startswith("target.fit_size=3")


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_fractions_out_of_range_are_all_refused_at_once(fraction: float) -> None:
    found = refused(Y, select_fraction=fraction, report_fraction=fraction)
    assert [value.split("=")[0] for value, _, _ in found] == [
        "target.select_fraction",
        "target.report_fraction",
    ]


def test_one_class_alone_is_refused() -> None:
    ((_, rule, _),) = refused([1] * 50)
    assert "at least 2 classes" in rule


def test_classes_with_too_few_images_are_named() -> None:
    y = [0] * 20 + [1] * 2 + [2] * 3 + [3]
    ((value, rule, _),) = refused(y)
    assert value == "too few images (the least is 1) of class 1, 3"
    assert "has 3 different images or more" in rule
    ((value, _, _),) = refused(y, class_names=["ant", "bee", "fly", "wasp"])
    assert value == "too few images (the least is 1) of class bee, wasp"


def test_copies_of_one_image_do_not_count_as_several() -> None:
    y = [0] * 20 + [1] * 3
    same_as = [*range(20), 20, 20, 20]
    ((value, rule, _),) = refused(y, same_as=same_as, class_names=["ant", "bee"])
    assert value == "too few images (the least is 1) of class bee"
    assert "3 different images" in rule


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


# ------------------------------------------------------------------ strata that are no classes
@given(st.integers(3, 120), st.integers(1, 6), seeds)
@example(21, 2, 2)  # 12 and 9
@settings(max_examples=60)
def test_strata_that_are_no_classes_are_shared_out_and_small_ones_refuse_nothing(
    n: int, groups: int, seed: int
) -> None:
    y = np.random.default_rng(seed).integers(0, groups, n) ** 2
    parts = partition(y, fit_size=None, seed=seed, of_classes=False, **FRACTIONS)
    assert is_sound(parts, n)
    assert len(parts.pool) + len(parts.report) == n
    groups_of, counts = np.unique(y, return_counts=True)
    small = counts[counts < 10].sum()
    if 0 < small < 10:
        return  # too few together as well: they are drawn with the largest stratum, as one
    for group in groups_of:
        if (y == group).sum() >= 10:
            share = (y[parts.report] == group).sum() / (y == group).sum()
            assert 0 < share < 0.5


def test_a_rare_stratum_that_only_the_report_split_has_is_no_fault() -> None:
    y = np.array([0] * 30 + [1] * 30 + [7])
    parts = partition(y, fit_size=None, seed=0, given={Split.REPORT: np.arange(50, 61)},
                      of_classes=False, **FRACTIONS)  # fmt: skip
    assert parts.report.tolist() == list(range(50, 61))


def test_too_few_images_of_no_class_are_refused_with_their_number() -> None:
    with pytest.raises(Refusal, match="2 images to fit"):
        partition(np.zeros(2), fit_size=None, seed=0, of_classes=False, **FRACTIONS)
    few = partition(np.zeros(4), fit_size=None, seed=0, of_classes=False, **FRACTIONS)
    assert few.said == ("3 folds in place of 5: there are 3 images",)


# ------------------------------------------------------------------ groups
@st.composite
def grouped(draw: st.DrawFn) -> tuple[Labels, list[str], Labels]:
    """Labels, the group of each image (of very different sizes), and some equal images.

    Half of the time all images of a group are of one class.
    """
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    sizes = draw(st.lists(st.integers(1, 25), min_size=16, max_size=40))
    group = np.repeat(np.arange(len(sizes)), sizes)
    n, classes = len(group), draw(st.integers(2, 4))
    y = group % classes if draw(st.booleans()) else rng.integers(0, classes, n)
    same_as = np.arange(n)
    for one, other in np.sort(rng.integers(0, n, (draw(st.integers(0, 3)), 2))).tolist():
        same_as[other] = same_as[one]
    return y.astype(np.int64), [f"p{g}" for g in group.tolist()], same_as


def whole(parts: Partition, names: list[str]) -> bool:
    """No group is in two of: what is held out by one fold, what never is, the report split."""
    never = np.setdiff1d(parts.pool, parts.held_out)
    of_part = [{names[i] for i in ids} for ids in (*parts.folds, never, parts.report)]
    return sum(map(len, of_part)) == len(set().union(*of_part))


@given(grouped(), fractions, fractions, seeds, fold_counts, st.booleans(), st.floats(0.3, 1))
@settings(max_examples=120)
def test_no_group_is_parted_whatever_the_sizes(
    drawn: tuple[Labels, list[str], Labels],
    select: float,
    report: float,
    seed: int,
    folds: int,
    of_classes: bool,
    share: float,
) -> None:
    y, names, same_as = drawn
    parts = None
    with suppress(Refusal):  # too few groups of a class
        parts = partition(
            y, fit_size=int(share * 0.5 * len(y)), select_fraction=select, report_fraction=report,
            seed=seed, folds=folds, same_as=same_as, groups=names, of_classes=of_classes,
        )  # fmt: skip
    assume(parts is not None)  # and Hypothesis tells where that is seldom so
    assert parts is not None
    assert is_sound(parts, len(y))
    assert whole(parts, names)
    used = {names[i] for i in np.concatenate([parts.pool, parts.report])}
    assert len(parts.pool) + len(parts.report) == sum(name in used for name in names)
    assert not np.isin(same_as[parts.pool], same_as[parts.report]).any()
    if of_classes:
        for k in range(len(parts.folds)):
            assert set(y[parts.rows(Split.SELECT, k)]) <= set(y[parts.rows(Split.FIT, k)])
        assert set(y[parts.report]) <= set(y[parts.pool])


@given(seeds, fractions, fold_counts, st.integers(20, 100))
@settings(max_examples=30)
def test_groups_of_one_image_each_change_nothing(
    seed: int, share: float, folds: int, fit_size: int
) -> None:
    chosen = {"fit_size": fit_size, "select_fraction": share, "report_fraction": share}
    alone = [str(i) for i in range(len(Y))]
    parts = partition(Y, seed=seed, folds=folds, **chosen)
    assert equal(parts, partition(Y, seed=seed, folds=folds, groups=alone, **chosen))


def test_shares_of_images_are_kept_as_near_as_whole_groups_come() -> None:
    y = np.arange(400) % 2
    names = [f"patient {i // 2 % 40}" for i in range(400)]  # 40 patients of both classes, 10 each
    parts = partition(y, fit_size=205, seed=0, groups=names, folds=5, **FRACTIONS)
    assert len(parts.report) == 80
    assert len(parts.pool) == 200
    assert [len(fold) for fold in parts.folds] == [40] * 5
    assert parts.said == ("200 images in place of 205: groups are kept whole",)


@given(grouped(), seeds)
@settings(max_examples=30)
def test_a_larger_pool_of_groups_only_adds_to_a_smaller_one(
    drawn: tuple[Labels, list[str], Labels], seed: int
) -> None:
    y, names, same_as = drawn
    pools = [
        partition(
            y,
            fit_size=size,
            seed=seed,
            groups=names,
            same_as=same_as,
            of_classes=False,
            **FRACTIONS,
        )
        for size in range(len(y) // 4, len(y) // 2, 5)
    ]
    for one, larger in pairwise(pools):
        assert set(one.pool) <= set(larger.pool)
        assert np.array_equal(one.report, larger.report)


def test_groups_that_share_images_are_one_through_one_another_too() -> None:
    names = [f"g{i // 4}" for i in range(120)]
    same_as = np.arange(120)
    same_as[[7, 8, 12]] = [3, 4, 9]  # g0 and g1, g1 and g2, g2 and g3
    for seed in range(8):
        y = np.arange(120) // 4 % 2
        parts = partition(y, fit_size=None, seed=seed, groups=names, same_as=same_as, **FRACTIONS)
        for ids in (parts.report, *parts.folds):
            assert len(set(range(16)) & set(ids.tolist())) in (0, 16)


def test_a_given_split_that_parts_a_group_is_refused_with_its_name() -> None:
    names = [f"p{i // 3}" for i in range(len(Y))]
    report = np.arange(238, 300)  # p79 is 237, 238 and 239
    ((value, rule, mend),) = refused(Y, given={Split.REPORT: report}, groups=names)
    assert value == "group p79 in more than one given split (fit, report)"
    assert "together" in rule
    assert "move all images of a group to one split" in mend


def test_folds_may_cut_train_and_val_together_through_a_group_of_both() -> None:
    names = [f"p{i // 3}" for i in range(len(Y))]
    given = {Split.FIT: np.arange(200), Split.SELECT: np.arange(200, 240), Split.REPORT: TEST}
    assert refused(Y, given=given, groups=names)[0][0].startswith("group p66 in")
    parts = partition(Y, fit_size=None, seed=0, given=given, groups=names, folds=4, **FRACTIONS)
    assert whole(parts, names)


def test_a_class_in_too_few_groups_is_refused_by_its_name() -> None:
    y = np.array([0] * 60 + [1] * 20)
    names = [f"p{i // 5}" for i in range(60)] + ["one", "two"] * 10
    ((value, rule, _),) = refused(y, groups=names, class_names=["ant", "bee"])
    assert value == "too few groups (the least is 2) of class bee"
    assert "3 different groups or more" in rule


def test_partitioning_loads_no_torch() -> None:
    code = "import sys, tlsweep.target.partition, tlsweep.target; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
