"""Which image trains, which chooses, which is quoted. Pure: numpy in, numpy out.

The pool is all labelled data that may choose. Folds cut it: where fold k is held out, the rest of
the pool is the fit split and fold k the select split. The report split lies outside the pool.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlsweep.errors import Fault, Refusal
from tlsweep.terms import Split

Indices = NDArray[np.int64]
Folds = Literal["auto"] | int
AUTO_FOLDS, HOLDOUT_FROM = 5, 2_000  # folds=auto: so many below so many examples, else one holdout
LEAST_STRATUM = 10  # images of a stratum that is no class
_NAMED = 10  # classes named in a refusal


@dataclass(frozen=True)
class Partition:
    """The pool, cut into folds, and the report split: sorted int64 indices.

    folds: what is held out by each; one fold alone is a holdout, and the rest of the pool is never
    held out. said: what was decided for the user, a sentence each.
    """

    pool: Indices
    folds: tuple[Indices, ...]
    report: Indices
    seed: int
    said: tuple[str, ...] = ()

    def rows(self, split: Split, fold: int | None = 0) -> Indices:
        """The indices of a split where ``fold`` is held out; None holds nothing out.

        Raises IndexError for a fold that there is not.
        """
        if split == Split.REPORT:
            return self.report
        if split == Split.POOL:
            return self.pool
        held_out = np.empty(0, np.int64) if fold is None else self.folds[fold]
        return held_out if split == Split.SELECT else np.setdiff1d(self.pool, held_out)

    def places(self, split: Split, fold: int | None = 0) -> Indices:
        """Where the rows of a fit or select split stand in the pool."""
        return np.searchsorted(self.pool, self.rows(split, fold))

    def joined(self) -> Partition:
        """All labelled images in the pool: nothing is held out, and no score is to be had."""
        return replace(self, pool=np.union1d(self.pool, self.report), folds=())

    @property
    def held_out(self) -> Indices:
        """All that some fold holds out, fold by fold: where out-of-fold answers stand."""
        return np.concatenate(self.folds)


def partition(
    labels: ArrayLike,
    *,
    fit_size: int | None,
    select_fraction: float,
    report_fraction: float,
    seed: int,
    folds: Folds = "auto",
    given: Mapping[Split, ArrayLike] | None = None,
    same_as: ArrayLike | None = None,
    groups: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    of_classes: bool = True,
) -> Partition:
    """Draw a stratified pool, its folds and the report split; the same seed draws the same ones.

    labels: class or other stratum of each image, int [n]; fit_size: images of the pool, None for
    all that are left; select_fraction: share of the pool that a holdout takes; report_fraction:
    share of the images that is quoted, where the data has not set some apart; folds: how many,
    ``auto`` for 5 below 2,000 images of the pool and one holdout above; given: splits that come
    with the data, as indices; same_as: for each image the first one with the same content, itself
    where there is none; groups: name of the group of each image, of which none is ever parted (a
    patient's images); class_names: for messages; of_classes: whether the strata are classes, each
    of which is to be learned; else small ones are put together.

    What the data gives is kept: its test part (REPORT) is quoted, its val part (SELECT) is the one
    holdout, unless ``folds`` is a number, which cuts train and val together. There fit_size draws
    from the train part alone. Data with train and val only was published to be quoted on val:
    there val is the report split.

    Images with the same content lie in one fold, and never in the pool and the report split both;
    so do images of one group. Where there are groups, shares of images are as near as whole groups
    come to them.

    Stratified: the share of each class in a split is within one image of proportional, save where
    that would leave a class without an image. Growing fit_size only adds images to the pool; the
    report split depends on labels, contents, fraction, seed and ``given`` alone.

    Raises Refusal with the faults found: fractions out of range, one class only, classes with too
    few images, classes that only a given report or select split has; groups that the given splits
    part; and, once these hold, a fit_size that is not available or smaller than the number of
    classes.
    """
    y = np.asarray(labels, dtype=np.int64)
    first = np.arange(len(y)) if same_as is None else np.asarray(same_as, dtype=np.int64)
    names = class_names or [str(i) for i in range(int(y.max(initial=-1)) + 1)]
    parts = _parts(given or {}, len(y), folds)
    if groups is not None:
        _refuse_parted(parts, groups)
    parts, said = _without_twins(parts, first)
    carve, val, drawn_from = Split.REPORT not in parts, parts.get(Split.SELECT), parts[Split.FIT]
    units = _units(y, first, groups, drawn_from)
    least = 1 if val is not None else 2
    faults = _fraction_faults(select_fraction, report_fraction, carve)
    faults += (
        _class_faults(y, units, parts, least + carve, names)
        if of_classes
        else _size_faults(units, least + carve)
    )
    if faults:
        raise Refusal(*faults)
    by_class = of_classes and units.pure
    strata = units.strata if by_class else _merged(units.strata, units.alone)
    order = np.random.default_rng([seed, 0]).permutation(units.alone)
    queues = _by_class(order, strata[order])
    report, queues = _carve(queues, units, report_fraction if carve else 0.0, carve, leave=least)
    queues = _drawn(queues, units, fit_size, seed, least, by_class)
    classes = [_named([strata[queue[0]]], names) if by_class else "" for queue in queues]
    cut, more = _folds(queues, units, folds, select_fraction, val, classes)
    whole = _followers(units.tie, drawn_from)
    pool = whole(np.concatenate(queues))
    found = Partition(
        pool=np.sort(pool if val is None else np.concatenate([pool, val])),
        folds=tuple(np.sort(whole(fold) if val is None else fold) for fold in cut),
        report=np.sort(whole(report) if carve else parts[Split.REPORT]),
        seed=seed,
        said=(*said, *_near(units, queues, fit_size), *more),
    )
    if of_classes and not units.pure:
        _refuse_unlearned(y, found, names)
    return found


@dataclass(frozen=True)
class _Units:
    """What is drawn as one: images with the same content, and whole groups where there are any.

    alone: the first image of each, which stands for it and which the others follow; tie: for each
    image the one that stands for it, int [n]; size: different images of the unit that an image
    stands for, int [n]; strata: the rarest class of that unit, int [n]; has: a class an entry, once
    for each unit that has it; pure: no unit has two classes; things: what units are called.
    """

    alone: Indices
    tie: Indices
    size: Indices
    strata: Indices
    has: Indices
    pure: bool
    things: str


def _units(y: Indices, first: Indices, groups: Sequence[str] | None, drawn_from: Indices) -> _Units:
    if groups is None:
        alone = drawn_from[_first_of(first[drawn_from])]
        return _Units(alone, first, np.ones(len(y), np.int64), y, y[alone], True, "images")
    tie = tied(first, np.unique(np.asarray(groups), return_inverse=True)[1], drawn_from)
    different = drawn_from[_first_of(first[drawn_from])]
    has = np.unique(np.stack([tie[drawn_from], y[drawn_from]], 1), axis=0)
    rarity = np.bincount(has[:, 1], minlength=1)[has[:, 1]]
    rarest_first = has[np.lexsort((has[:, 1], rarity, has[:, 0]))]
    alone, places = np.unique(rarest_first[:, 0], return_index=True)
    strata = y.copy()
    strata[alone] = rarest_first[places, 1]
    size = np.bincount(tie[different], minlength=len(y))
    return _Units(alone, tie, size, strata, has[:, 1], len(has) == len(alone), "groups")


def tied(first: Indices, group: Indices, within: Indices) -> Indices:
    """For each image the first of those it is tied to, by content or by group: int64 [n].

    Ties go through: two groups that have an image in common are one. Outside of ``within`` an image
    is its own.
    """
    tie = np.arange(len(first), dtype=np.int64)
    while True:
        before = tie.copy()
        for same in (first[within], group[within]):
            lowest = np.full(int(same.max(initial=-1)) + 1, len(first), dtype=np.int64)
            np.minimum.at(lowest, same, tie[within])
            tie[within] = lowest[same]
        if np.array_equal(tie, before):
            return tie


def _refuse_parted(parts: Mapping[Split, Indices], groups: Sequence[str]) -> None:
    """Raise Refusal where the given parts have a group in two of them."""
    names = np.asarray(groups)
    found = Counter(str(name) for ids in parts.values() for name in np.unique(names[ids]))
    parted = sorted(name for name, times in found.items() if times > 1)
    if parted:
        raise Refusal(
            Fault(
                f"group {_some(parted)} in more than one given split ({', '.join(sorted(parts))})",
                "images of one group are alike: they train, choose or are quoted together",
                "move all images of a group to one split, or leave out the groups or the splits",
            )
        )


def _refuse_unlearned(y: Indices, parts: Partition, names: Sequence[str]) -> None:
    """Raise Refusal where a class is scored that the images that train do not have."""
    scored = [(parts.pool, parts.report)]
    scored += [(parts.rows(Split.FIT, k), fold) for k, fold in enumerate(parts.folds)]
    strange = np.unique(np.concatenate([np.setdiff1d(y[to], y[fit]) for fit, to in scored]))
    if len(strange):
        raise Refusal(
            Fault(
                f"class {_named(strange, names)} is in too few groups: where they are scored, none"
                " is left to train",
                "groups are kept whole, and every class that is scored is trained",
                "fewer parts (target.folds=2), another draw (target.split_seed=1), or leave the"
                " class out",
            )
        )


def _parts(given: Mapping[Split, ArrayLike], n: int, folds: Folds) -> dict[Split, Indices]:
    """The parts that the data has; a number of folds cuts train and val together."""
    found = _resolve(given, n)
    if folds != "auto" and Split.SELECT in found:
        found[Split.FIT] = np.union1d(found[Split.FIT], found.pop(Split.SELECT))
    return found


def _first_of(groups: Indices) -> Indices:
    """The place of the first example of each group, ascending."""
    return np.sort(np.unique(groups, return_index=True)[1])


def _followers(first: Indices, within: Indices) -> Callable[[Indices], Indices]:
    """A function that adds to some images those of ``within`` with the same content."""

    def with_twins(chosen: Indices) -> Indices:
        found: Indices = within[np.isin(first[within], first[chosen])]
        return found

    return with_twins


def _without_twins(
    parts: dict[Split, Indices], first: Indices
) -> tuple[dict[Split, Indices], list[str]]:
    """The given parts, of which none repeats an image of a later one: report before select."""
    order = (Split.REPORT, Split.SELECT, Split.FIT)
    taken = np.empty(0, np.int64)
    kept, said = dict(parts), []
    for split in order:
        if split not in parts:
            continue
        repeated = np.isin(first[parts[split]], taken)
        if repeated.any():
            said.append(
                f"{int(repeated.sum())} images of the {split} split are left out: their content"
                " is also in a split that is scored"
            )
        kept[split] = parts[split][~repeated]
        taken = np.concatenate([taken, first[kept[split]]])
    return {s: ids for s, ids in kept.items() if len(ids) or s == Split.FIT}, said


def _drawn(
    queues: list[Indices],
    units: _Units,
    fit_size: int | None,
    seed: int,
    least: int,
    of_classes: bool,
) -> list[Indices]:
    """The fronts of the queues, ``fit_size`` images in all, or as near as whole units come."""
    counts = np.array([units.size[queue].sum() for queue in queues])
    available = int(counts.sum())
    if fit_size is None or fit_size == available:
        return queues
    smallest = least * len(queues)
    if not smallest <= fit_size <= available:
        nearest_size = min(max(fit_size, smallest), available)
        each = f", {'one image' if least == 1 else f'{least} images'} of each class,"
        raise Refusal(
            Fault(
                f"target.fit_size={fit_size}",
                f"between {smallest}{each if of_classes else ''} and {available}, the images left "
                "beside the report split",
                f"target.fit_size={nearest_size}, or target.fit_size=null for all of them",
            )
        )
    take = nested_shares(counts, fit_size, np.random.default_rng([seed, 1]), least)
    return [
        queue[: _units_in(queue, units, k, least, len(queue))]
        for queue, k in zip(queues, take, strict=True)
    ]


def _near(units: _Units, queues: list[Indices], fit_size: int | None) -> list[str]:
    images = sum(int(units.size[queue].sum()) for queue in queues)
    if fit_size in (None, images):
        return []
    return [f"{images} images in place of {fit_size}: groups are kept whole"]


def _units_in(queue: Indices, units: _Units, images: int, least: int, most: int) -> int:
    """How many units from the front of a queue come nearest to so many images."""
    reached = np.cumsum(units.size[queue])
    nearest = int(np.abs(reached - images).argmin()) + 1
    return min(max(nearest, least), most)


def _folds(
    queues: list[Indices],
    units: _Units,
    folds: Folds,
    select_fraction: float,
    val: Indices | None,
    classes: Sequence[str],
) -> tuple[list[Indices], list[str]]:
    """What each fold holds out, and what was decided about it. classes: name of each queue's."""
    if val is not None:
        return [val], []
    counts = np.array([len(queue) for queue in queues])
    wanted = folds
    if wanted == "auto":
        images = sum(int(units.size[queue].sum()) for queue in queues)
        wanted = AUTO_FOLDS if images < HOLDOUT_FROM else 1
    assert isinstance(wanted, int)
    if wanted == 1:
        return [_carve(queues, units, select_fraction, True, leave=1)[0]], []
    least, said = int(counts.min()), []
    if least < wanted:
        smallest = classes[int(np.argmin(counts))]
        who = f"class {smallest} has" if smallest else "there are"
        said.append(f"{least} folds in place of {wanted}: {who} {least} {units.things}")
        wanted = least
    return _dealt(queues, units, wanted), said


def _dealt(queues: list[Indices], units: _Units, folds: int) -> list[Indices]:
    """What each fold holds: units dealt out like cards, class after class, to who has the least.

    Of units of one image, folds and the classes in them differ by one image at most.
    """
    hands: list[list[int]] = [[] for _ in range(folds)]
    images = [0] * folds
    for queue in queues:
        of_class = [0] * folds
        for unit, size in zip(queue.tolist(), units.size[queue].tolist(), strict=True):
            k = min(range(folds), key=list(zip(of_class, images, strict=True)).__getitem__)
            hands[k].append(unit)
            of_class[k] += 1
            images[k] += size
    return [np.array(hand, dtype=np.int64) for hand in hands]


def _resolve(given: Mapping[Split, ArrayLike], n: int) -> dict[Split, Indices]:
    """The given splits by their use; FIT is always there, as others may be carved from it."""
    parts = {split: np.unique(np.asarray(ids, dtype=np.int64)) for split, ids in given.items()}
    parts = {split: ids for split, ids in parts.items() if len(ids)}
    if Split.SELECT in parts and Split.REPORT not in parts:
        parts[Split.REPORT] = parts.pop(Split.SELECT)
    taken = np.concatenate([np.empty(0, np.int64), *parts.values()])
    outside = np.any((taken < 0) | (taken >= n))
    if outside or len(np.unique(taken)) != len(taken):
        sizes = ", ".join(f"{split} {len(ids)}" for split, ids in sorted(parts.items()))
        raise Refusal(
            Fault(
                f"given splits ({sizes}) of {n} images",
                "no image is in two given splits, and every index is one of the images",
                "check the indices that the target gives",
            )
        )
    if Split.FIT not in parts:
        parts[Split.FIT] = np.setdiff1d(np.arange(n, dtype=np.int64), taken)
    return parts


def _fraction_faults(select: float, report: float, carve_report: bool) -> list[Fault]:
    shares = {"select": select, **({"report": report} if carve_report else {})}
    return [
        Fault(
            f"target.{split}_fraction={share}",
            "a share of the images: between 0 and 1, without the ends",
            f"target.{split}_fraction=0.2",
        )
        for split, share in shares.items()
        if not 0 < share < 1
    ]


def _class_faults(
    y: Indices,
    units: _Units,
    parts: Mapping[Split, Indices],
    needed: int,
    names: Sequence[str],
) -> list[Fault]:
    classes, counts = np.unique(units.has, return_counts=True)
    faults = []
    if len(classes) < 2:
        faults.append(
            Fault(
                f"{len(classes)} class(es) among {len(units.alone)} {units.things} to fit",
                "a classification target has at least 2 classes",
                "add images of another class",
            )
        )
    few = classes[counts < needed]
    if len(few):
        smallest = int(counts.min())
        faults.append(
            Fault(
                f"too few {units.things} (the least is {smallest}) of class {_named(few, names)}",
                f"every class has {needed} different {units.things} or more: to train, to choose"
                " and to report",
                "add images of these classes, or take the classes out",
            )
        )
    for split in (Split.SELECT, Split.REPORT):
        strange = np.setdiff1d(y[parts[split]], classes) if split in parts else np.empty(0)
        if len(strange):
            faults.append(
                Fault(
                    f"class {_named(strange, names)} is in the given {split} split alone",
                    "a class that is chosen or quoted on has images to fit",
                    "add images of it to the train part, or take it out of the other",
                )
            )
    return faults


def _merged(y: Indices, alone: Indices) -> Indices:
    """Strata of ``LEAST_STRATUM`` images or more to draw from: smaller ones are put together.

    Where that is too few as well, with the largest one.
    """
    strata, counts = np.unique(y[alone], return_counts=True)
    rare = np.setdiff1d(y, strata[counts >= LEAST_STRATUM])
    if not len(rare):
        return y
    rest = int(np.isin(y[alone], rare).sum())
    into = rare[0] if rest >= LEAST_STRATUM else strata[counts.argmax()]
    return np.where(np.isin(y, rare), into, y)


def _size_faults(units: _Units, needed: int) -> list[Fault]:
    if len(units.alone) >= needed:
        return []
    things = units.things
    rule = f"{needed} different {things} or more: to train, to choose and to report"
    return [Fault(f"{len(units.alone)} {things} to fit", rule, f"add {things}")]


def _named(labels: Iterable[int], known: Sequence[str]) -> str:
    return _some([str(known[label]) if label < len(known) else str(label) for label in labels])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _by_class(order: Indices, labels: Indices) -> list[Indices]:
    """Split ``order`` into one queue a class, by ascending label, each in the order it had."""
    grouped = order[np.argsort(labels, kind="stable")]
    _, counts = np.unique(labels, return_counts=True)
    return np.split(grouped, np.cumsum(counts)[:-1])


def _carve(
    queues: list[Indices], units: _Units, fraction: float, wanted: bool, leave: int
) -> tuple[Indices, list[Indices]]:
    """Take ``fraction`` of the images from the fronts of the queues, leaving ``leave`` units."""
    if not wanted:
        return np.empty(0, np.int64), queues
    counts = np.array([units.size[queue].sum() for queue in queues])
    size = max(round(fraction * int(counts.sum())), len(queues))
    shares = apportion(counts, size, most=counts - leave)
    take = [
        _units_in(queue, units, k, 1, len(queue) - leave)
        for queue, k in zip(queues, shares, strict=True)
    ]
    taken = np.concatenate([queue[:k] for queue, k in zip(queues, take, strict=True)])
    return taken, [queue[k:] for queue, k in zip(queues, take, strict=True)]


def apportion(counts: Indices, size: int, most: Indices) -> Indices:
    """Share ``size`` among classes in proportion to ``counts``, 1 to ``most`` to each.

    Largest remainder, so every share is within one of proportional where the bounds leave room. If
    the bounds cannot hold ``size``, the nearest number that they can hold is shared. counts, most:
    int [n_classes], most >= 1; returns int [n_classes].
    """
    size = min(max(size, len(counts)), int(most.sum()))
    quota = counts * (size / counts.sum())
    shares: Indices = np.clip(np.floor(quota + 1e-9).astype(np.int64), 1, most)
    while (missing := size - int(shares.sum())) != 0:
        step = 1 if missing > 0 else -1
        free = shares < most if step > 0 else shares > 1
        owed = np.where(free, step * (quota - shares), -np.inf)
        shares[int(np.argmax(owed))] += step
    return shares


def subset(labels: ArrayLike, size: int, seed: int) -> Indices:
    """A stratified draw of ``size`` of the images: sorted places in ``labels``.

    Growing ``size`` only adds images. Raises Refusal for a size smaller than the classes.
    """
    y = np.asarray(labels, dtype=np.int64)
    order = np.random.default_rng([seed, 2]).permutation(len(y))
    queues, everything = _by_class(order, y[order]), np.arange(len(y), dtype=np.int64)
    units = _units(y, everything, None, everything)
    return np.sort(np.concatenate(_drawn(queues, units, size, seed, 1, of_classes=True)))


def nested_shares(counts: Indices, size: int, rng: np.random.Generator, least: int = 1) -> Indices:
    """Share ``size`` among classes so that a bigger size never takes an image away from a class.

    The quota method (Balinski and Young 1975), from ``least`` images each. Largest remainder is not
    nested: there a class can lose an image when the size grows by one (the Alabama paradox). Every
    share is at least ``least``, and else at most its proportion rounded up. counts: int
    [n_classes], n_classes * least <= size <= counts.sum(); rng breaks ties between equal classes,
    by one draw for all sizes.
    """
    total = int(counts.sum())
    rank = rng.permutation(len(counts))
    shares = np.full(len(counts), least, dtype=np.int64)
    for reached in range(least * len(counts) + 1, size + 1):
        below_quota = shares * total < counts * reached
        priority = np.where(below_quota, counts / (shares + 1), -math.inf)
        best = np.flatnonzero(priority == priority.max())
        shares[best[np.argmin(rank[best])]] += 1
    return shares
