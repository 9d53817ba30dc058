"""Which image trains, which chooses, which is quoted. Pure: numpy in, numpy out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tlsweep.errors import Fault, Refusal
from tlsweep.terms import Split

Indices = NDArray[np.int64]
_NAMED = 10  # classes named in a refusal


@dataclass(frozen=True)
class Partition:
    """Three disjoint parts of the target: sorted int64 indices, and the seed that drew them."""

    fit: Indices
    select: Indices
    report: Indices
    seed: int

    def __getitem__(self, split: Split) -> Indices:
        return {Split.FIT: self.fit, Split.SELECT: self.select, Split.REPORT: self.report}[split]


def partition(
    labels: ArrayLike,
    *,
    fit_size: int | None,
    select_fraction: float,
    report_fraction: float,
    seed: int,
    given: Mapping[Split, ArrayLike] | None = None,
) -> Partition:
    """Draw disjoint, stratified fit, select and report splits; the same seed draws the same ones.

    labels: class of each image, int [n]; fit_size: images to train with, None for all that are
    left; select_fraction, report_fraction: shares of the images that the data has not itself set
    apart for another split; given: splits that come with the data, as indices.

    What the data gives is kept: its test part (REPORT) is quoted, its val part (SELECT) chooses,
    and fit_size draws from its train part (FIT). Data with train and val only was published to be
    quoted on val: there val becomes the report split, and the select split is carved from train,
    so that what is chosen on is never quoted. What is not given is carved.

    Stratified: the share of each class in a split is within one image of proportional, save where
    that would leave a class without an image in a split. Growing fit_size only adds images to the
    fit split; report and select depend on labels, fractions, seed and ``given`` alone.

    Raises Refusal with the faults found: fractions out of range, one class only, classes with too
    few images, classes that only a given report or select split has; and, once these hold, a
    fit_size that is not available or smaller than the number of classes.
    """
    y = np.asarray(labels, dtype=np.int64)
    parts = _resolve(given or {}, len(y))
    carve_select, carve_report = Split.SELECT not in parts, Split.REPORT not in parts
    fractions = {
        Split.SELECT: select_fraction if carve_select else 0.0,
        Split.REPORT: report_fraction if carve_report else 0.0,
    }
    pool = parts[Split.FIT]
    faults = _fraction_faults(fractions, carve_select, carve_report)
    faults += _class_faults(y, pool, parts, 1 + carve_select + carve_report)
    if faults:
        raise Refusal(*faults)

    order = np.random.default_rng([seed, 0]).permutation(pool)
    queues = _by_class(order, y[order])
    report, queues = _carve(queues, fractions[Split.REPORT], carve_report, leave=1 + carve_select)
    # A share of the whole, not of what the report split has left over.
    left = max(1.0 - fractions[Split.REPORT], np.finfo(float).tiny)
    select, queues = _carve(queues, fractions[Split.SELECT] / left, carve_select, leave=1)
    fit = _draw_fit(queues, fit_size, seed)
    return Partition(
        fit=np.sort(fit),
        select=np.sort(select if carve_select else parts[Split.SELECT]),
        report=np.sort(report if carve_report else parts[Split.REPORT]),
        seed=seed,
    )


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


def _fraction_faults(
    fractions: Mapping[Split, float], carve_select: bool, carve_report: bool
) -> list[Fault]:
    faults = []
    for split, carved in ((Split.SELECT, carve_select), (Split.REPORT, carve_report)):
        if carved and not 0 < fractions[split] < 1:
            faults.append(
                Fault(
                    f"target.{split}_fraction={fractions[split]}",
                    f"a share of the images: between 0 and 1, without the ends; the data gives no "
                    f"{split} split of its own",
                    f"target.{split}_fraction=0.2",
                )
            )
    if not faults and sum(fractions.values()) >= 1:
        given = " ".join(f"target.{split}_fraction={share}" for split, share in fractions.items())
        faults.append(
            Fault(
                given,
                "the select and report splits leave images to fit: together less than 1",
                "target.select_fraction=0.2 target.report_fraction=0.2",
            )
        )
    return faults


def _class_faults(
    y: Indices, pool: Indices, parts: Mapping[Split, Indices], needed: int
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
                f"too few images (the least is {smallest}) of class {_some(few)}",
                f"every class has {needed} images or more: one in each split drawn from them",
                "add images of these classes, or take the classes out",
            )
        )
    for split in (Split.SELECT, Split.REPORT):
        strange = np.setdiff1d(y[parts[split]], classes) if split in parts else np.empty(0)
        if len(strange):
            faults.append(
                Fault(
                    f"class {_some(strange)} is in the given {split} split alone",
                    "a class that is chosen or quoted on has images to fit",
                    "add images of it to the train part, or take it out of the other",
                )
            )
    return faults


def _some(classes: Iterable[object]) -> str:
    names = [str(label) for label in classes]
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


def _draw_fit(queues: list[Indices], fit_size: int | None, seed: int) -> Indices:
    counts = np.array([len(queue) for queue in queues])
    available = int(counts.sum())
    if fit_size is None or fit_size == available:
        return np.concatenate(queues)
    if not len(queues) <= fit_size <= available:
        nearest_size = min(max(fit_size, len(queues)), available)
        raise Refusal(
            Fault(
                f"target.fit_size={fit_size}",
                f"between {len(queues)}, one image of each class, and {available}, the images left "
                "beside the select and report splits",
                f"target.fit_size={nearest_size}, or target.fit_size=null for all of them",
            )
        )
    take = nested_shares(counts, fit_size, np.random.default_rng([seed, 1]))
    return np.concatenate([queue[:k] for queue, k in zip(queues, take, strict=True)])


def subset(labels: ArrayLike, size: int, seed: int) -> Indices:
    """A stratified draw of ``size`` of the images: sorted places in ``labels``.

    Growing ``size`` only adds images. Raises Refusal for a size smaller than the classes.
    """
    y = np.asarray(labels, dtype=np.int64)
    order = np.random.default_rng([seed, 2]).permutation(len(y))
    drawn: Indices = np.sort(_draw_fit(_by_class(order, y[order]), size, seed))
    return drawn


def nested_shares(counts: Indices, size: int, rng: np.random.Generator) -> Indices:
    """Share ``size`` among classes so that a bigger size never takes an image away from a class.

    The quota method (Balinski and Young 1975), from one image each. Largest remainder is not
    nested: there a class can lose an image when the size grows by one (the Alabama paradox). Every
    share is at least 1, and else at most its proportion rounded up. counts: int [n_classes],
    n_classes <= size <= counts.sum(); rng breaks ties between equal classes, by one draw for all
    sizes.
    """
    total = int(counts.sum())
    rank = rng.permutation(len(counts))
    shares = np.ones(len(counts), dtype=np.int64)
    for reached in range(len(counts) + 1, size + 1):
        below_quota = shares * total < counts * reached
        priority = np.where(below_quota, counts / (shares + 1), -math.inf)
        best = np.flatnonzero(priority == priority.max())
        shares[best[np.argmin(rank[best])]] += 1
    return shares
