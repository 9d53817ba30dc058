"""Which image trains, which chooses, which is quoted. Pure: numpy in, numpy out.

The pool is all labelled data that may choose. Folds cut it: where fold k is held out, the rest of
the pool is the fit split and fold k the select split. The report split lies outside the pool.
"""

from __future__ import annotations

import math
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
    class_names: Sequence[str] | None = None,
    of_classes: bool = True,
) -> Partition:
    """Draw a stratified pool, its folds and the report split; the same seed draws the same ones.

    labels: class or other stratum of each image, int [n]; fit_size: images of the pool, None for
    all that are left; select_fraction: share of the pool that a holdout takes; report_fraction:
    share of the images that is quoted, where the data has not set some apart; folds: how many,
    ``auto`` for 5 below 2,000 images of the pool and one holdout above; given: splits that come
    with the data, as indices; same_as: for each image the first one with the same content, itself
    where there is none; class_names: for messages; of_classes: whether the strata are classes, each
    of which is to be learned; else small ones are put together.

    What the data gives is kept: its test part (REPORT) is quoted, its val part (SELECT) is the one
    holdout, unless ``folds`` is a number, which cuts train and val together. There fit_size draws
    from the train part alone. Data with train and val only was published to be quoted on val:
    there val is the report split.

    Images with the same content lie in one fold, and never in the pool and the report split both.

    Stratified: the share of each class in a split is within one image of proportional, save where
    that would leave a class without an image. Growing fit_size only adds images to the pool; the
    report split depends on labels, contents, fraction, seed and ``given`` alone.

    Raises Refusal with the faults found: fractions out of range, one class only, classes with too
    few images, classes that only a given report or select split has; and, once these hold, a
    fit_size that is not available or smaller than the number of classes.
    """
    y = np.asarray(labels, dtype=np.int64)
    first = np.arange(len(y)) if same_as is None else np.asarray(same_as, dtype=np.int64)
    names = class_names or [str(i) for i in range(int(y.max(initial=-1)) + 1)]
    parts, said = _without_twins(_parts(given or {}, len(y), folds), first)
    carve, val, drawn_from = Split.REPORT not in parts, parts.get(Split.SELECT), parts[Split.FIT]
    # twins follow the first of them, so only that one is drawn
    alone = drawn_from[_first_of(first[drawn_from])]
    least = 1 if val is not None else 2
    faults = _fraction_faults(select_fraction, report_fraction, carve)
    faults += (
        _class_faults(y, alone, parts, least + carve, names)
        if of_classes
        else _size_faults(len(alone), least + carve)
    )
    if faults:
        raise Refusal(*faults)
    y = y if of_classes else _merged(y, alone)
    order = np.random.default_rng([seed, 0]).permutation(alone)
    queues = _by_class(order, y[order])
    report, queues = _carve(queues, report_fraction if carve else 0.0, carve, leave=least)
    queues = _drawn(queues, fit_size, seed, least, of_classes)
    classes = [_named([y[queue[0]]], names) if of_classes else "" for queue in queues]
    cut, more = _folds(queues, folds, select_fraction, val, classes)
    with_twins = _followers(first, drawn_from)
    pool = with_twins(np.concatenate(queues))
    return Partition(
        pool=np.sort(pool if val is None else np.concatenate([pool, val])),
        folds=tuple(np.sort(with_twins(fold) if val is None else fold) for fold in cut),
        report=np.sort(with_twins(report) if carve else parts[Split.REPORT]),
        seed=seed,
        said=(*said, *more),
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
    queues: list[Indices], fit_size: int | None, seed: int, least: int, of_classes: bool
) -> list[Indices]:
    """The fronts of the queues, ``fit_size`` images in all."""
    counts = np.array([len(queue) for queue in queues])
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
    return [queue[:k] for queue, k in zip(queues, take, strict=True)]


def _folds(
    queues: list[Indices],
    folds: Folds,
    select_fraction: float,
    val: Indices | None,
    classes: Sequence[str],
) -> tuple[list[Indices], list[str]]:
    """What each fold holds out, and what was decided about it. classes: name of each queue's."""
    if val is not None:
        return [val], []
    counts = np.array([len(queue) for queue in queues])
    pool = np.concatenate(queues)
    wanted = folds
    if wanted == "auto":
        wanted = AUTO_FOLDS if len(pool) < HOLDOUT_FROM else 1
    assert isinstance(wanted, int)
    if wanted == 1:
        return [_carve(queues, select_fraction, True, leave=1)[0]], []
    least, said = int(counts.min()), []
    if least < wanted:
        smallest = classes[int(np.argmin(counts))]
        who = f"class {smallest} has" if smallest else "there are"
        said.append(f"{least} folds in place of {wanted}: {who} {least} images")
        wanted = least
    # dealt out like cards, class after class: folds and classes in them differ by one image at most
    return [pool[k::wanted] for k in range(wanted)], said


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
    pool: Indices,
    parts: Mapping[Split, Indices],
    needed: int,
    names: Sequence[str],
) -> list[Fault]:
    classes, counts = np.unique(y[pool], return_counts=True)
    faults = []
    if len(classes) < 2:
        faults.append(
            Fault(
                f"{len(classes)} class(es) among {len(pool)} images to fit",
                "a classification target has at least 2 classes",
                "add images of another class",
            )
        )
    few = classes[counts < needed]
    if len(few):
        smallest = int(counts.min())
        faults.append(
            Fault(
                f"too few images (the least is {smallest}) of class {_named(few, names)}",
                f"every class has {needed} different images or more: to train, to choose and to"
                " report",
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


def _size_faults(images: int, needed: int) -> list[Fault]:
    if images >= needed:
        return []
    rule = f"{needed} different images or more: to train, to choose and to report"
    return [Fault(f"{images} images to fit", rule, "add images")]


def _named(labels: Iterable[int], known: Sequence[str]) -> str:
    names = [str(known[label]) if label < len(known) else str(label) for label in labels]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _by_class(order: Indices, labels: Indices) -> list[Indices]:
    """Split ``order`` into one queue a class, by ascending label, each in the order it had."""
    grouped = order[np.argsort(labels, kind="stable")]
    _, counts = np.unique(labels, return_counts=True)
    return np.split(grouped, np.cumsum(counts)[:-1])


def _carve(
    queues: list[Indices], fraction: float, wanted: bool, leave: int
) -> tuple[Indices, list[Indices]]:
    """Take ``fraction`` of the images from the fronts of the queues, leaving ``leave`` in each."""
    if not wanted:
        return np.empty(0, np.int64), queues
    counts = np.array([len(queue) for queue in queues])
    size = max(round(fraction * int(counts.sum())), len(queues))
    take = apportion(counts, size, most=counts - leave)
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
    drawn: Indices = np.sort(
        np.concatenate(_drawn(_by_class(order, y[order]), size, seed, 1, of_classes=True))
    )
    return drawn


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
