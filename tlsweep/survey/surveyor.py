"""The survey of a sweep: every cut point frozen, answered out of fold from one pass."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tlsweep.config.sections import SurveySettings
from tlsweep.errors import Fault, Refusal
from tlsweep.extract.activations import (
    PLAIN,
    USUAL,
    Activations,
    Said,
    Variant,
    source_probabilities,
    views_needed,
    views_of,
)
from tlsweep.question import Question
from tlsweep.survey.all_cuts import mix
from tlsweep.survey.rows import Findings, Frozen, Mix, Place, Row
from tlsweep.survey.transfer import transfer_scores
from tlsweep.task.outcome import Logits, Outcome
from tlsweep.terms import Split
from tlsweep.trial import probe
from tlsweep.verdict import Nested, nested_penalty

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from torch import Tensor

    from tlsweep.heads.logistic import Heads

PATIENCE = 2.0  # seconds of a pass after which it is known how long it takes
SAMPLED = 500  # of the source's own images, for Frechet distances
Say = Callable[[int, int, str], None]
Outcomes = dict[Place, Outcome]


@dataclass(frozen=True)
class Fold:
    """One fold's data. fit, held_out: places in the pool; subsets of the fit rows, first all.

    sizes: of the subsets in images; seeds: their draws.
    """

    number: int
    fit: Tensor
    held_out: Tensor
    subsets_sn: Tensor
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Answered:
    """What the heads of one cut point answer of one fold, in the order of penalties, then subsets.

    logits_hnk: of the held-out examples; left_out: each head's share of right ones when an example
    is left out, None where that is not known; unsettled: heads given up before their optimum.
    """

    logits_hnk: Tensor
    left_out: list[float] | None
    unsettled: int


def survey(
    inputs: Activations, chosen: SurveySettings, minutes: float | None, say: Say
) -> tuple[Findings, Outcomes]:
    """Fit heads on every cut point, all penalties, folds and shares of the fit splits at once.

    minutes: that the whole sweep may take; say: told (done, total, what). Returns what was found,
    and for each cut point, of the source's weights and of random ones, what heads answer out of
    fold: their penalty for a fold was chosen on the other folds. The report split is not read.
    Raises Refusal as soon as the first pass shows that ``minutes`` cannot hold all of them.
    """
    from tlsweep.survey.workers import workers

    began, question = time.monotonic(), inputs.question
    indices = range(len(question.cuts))
    folds = folds_of(inputs, chosen)
    rows: list[Row] = []
    frozen: list[Frozen] = []
    outcomes: Outcomes = {}
    transfer: list[dict[str, Any]] = []
    mixed: Mix | None = None
    passes = {"source": USUAL}
    if chosen.random:
        passes["random"] = Variant(weights=inputs.seed)
    total = len(passes) * len(indices)
    for weights, variant in passes.items():
        told = _passing(say, weights)
        if variant == USUAL and inputs.train.devices == 1:  # members of a group cannot end others
            count = len(passes) * len(views_needed(inputs.train))
            told = within_minutes(told, minutes, count, question.task.things)
        z, views, y = features_of(inputs, indices, variant, told)
        known = _known_of_source(inputs, z) if variant == USUAL else None
        with workers() as pool:
            scores = known and pool.submit(_transfer, question, z, y, *known)
            heads = _started(pool, inputs, chosen, folds, y, z, views)
            for index in indices:
                answered = [job.result()[place] for job, place in heads[index]]
                mine, point, outcome = gathered(inputs, chosen, folds, weights, index, answered)
                rows += mine
                frozen.append(point)
                outcomes[weights, index] = outcome
                say(len(outcomes), total, f"survey: heads at {point.cut}")
            if scores is not None:
                transfer = scores.result()
        if chosen.all_cuts and variant == USUAL:
            places = [(fold.fit, fold.held_out) for fold in folds]
            mixed = mix(inputs, chosen.penalties, places, views, z, y)
    seconds = round(time.monotonic() - began, 3)
    return Findings(tuple(rows), tuple(frozen), tuple(transfer), seconds, mixed), outcomes


def _passing(say: Say, weights: str) -> Callable[[int, int], None]:
    return lambda done, total: say(done, total, f"survey: one pass, {weights} weights")


def within_minutes(
    told: Callable[[int, int], None], minutes: float | None, passes: int, things: str
) -> Callable[[int, int], None]:
    """``told``, which raises Refusal where so many passes like the first one exceed the minutes."""
    if minutes is None:
        return told
    began, over = time.monotonic(), False

    def watched(done: int, total: int) -> None:
        nonlocal over
        told(done, total)
        seconds = time.monotonic() - began
        whole = seconds / done * total * passes / 60
        if not over and seconds > PATIENCE and whole > minutes:
            raise Refusal(
                Fault(
                    f"sweep.minutes={minutes:g}",
                    f"the survey's passes over the {things} alone take about {whole:.1f} minutes:"
                    f" {done} of {total} {things} took {seconds:.0f} s",
                    f"sweep.minutes={math.ceil(4 * whole)}, sweep.survey.random=false for half the"
                    " passes, or a smaller target.fit_size",
                )
            )
        over = over or done == total  # further views begin to count anew

    return watched


def features_of(
    inputs: Activations,
    indices: Sequence[int],
    variant: Variant = USUAL,
    said: Said = lambda done, total: None,
) -> tuple[list[Tensor], list[list[Tensor]], Tensor]:
    """Pooled features of the pool at every cut point, those of each view trained on, and labels."""
    z = inputs.pooled(Split.POOL, indices, variant, said)
    views = [
        z if view == PLAIN else
        inputs.pooled(Split.POOL, indices, replace(variant, view=view), said)
        for view in views_of(inputs.train)
    ]  # fmt: skip
    return z, views, inputs.labels(Split.POOL)


def folds_of(inputs: Activations, chosen: SurveySettings) -> list[Fold]:
    """The folds of the pool, each with the subsets of its fit rows that heads are fitted to."""
    import torch

    from tlsweep.target.partition import subset

    question, parts = inputs.question, inputs.question.partition
    strata = question.task.strata(question.target.labels[parts.pool])
    found = []
    for number in range(len(parts.folds)):
        fit = parts.places(Split.FIT, number)
        y = strata[fit]
        sizes, seeds, subsets = [len(y)], [0], [torch.ones(len(y), dtype=torch.bool)]
        for share in sorted(chosen.fit_shares, reverse=True):
            for seed in range(chosen.seeds):
                size = max(round(share * len(y)), len(np.unique(strata)))
                drawn = torch.zeros(len(y), dtype=torch.bool)
                drawn[torch.from_numpy(subset(y, size, seed))] = True
                sizes.append(size)
                seeds.append(seed)
                subsets.append(drawn)
        # all views of an image are drawn with it
        subsets_sn = torch.stack(subsets).repeat(1, len(views_of(inputs.train)))
        held_out = torch.from_numpy(parts.places(Split.SELECT, number))
        places = torch.from_numpy(fit)
        found.append(Fold(number, places, held_out, subsets_sn, tuple(sizes), tuple(seeds)))
    return found


Job = Future[list[Answered]]


def _started(
    pool: Executor,
    inputs: Activations,
    chosen: SurveySettings,
    folds: Sequence[Fold],
    y: Tensor,
    z: Sequence[Tensor],
    views: Sequence[Sequence[Tensor]],
) -> list[list[tuple[Job, int]]]:
    """For each cut point and fold the job that fits its heads, under way, and its place in the job.

    The widest come first: they take longest.
    """
    from tlsweep.heads.logistic import batches

    twins = _twins(z)
    once = [i for i in range(len(z)) if i not in twins]
    heads = len(chosen.penalties) * len(folds[0].sizes)
    started: dict[int, list[tuple[Job, int]]] = {i: [] for i in once}
    for batch in batches([z[i] for i in once], heads, inputs.question.task.n_outputs):
        indices = [once[place] for place in batch]
        for fold in folds:
            features = [(z[i], [view[i] for view in views]) for i in indices]
            job = pool.submit(_heads, inputs, chosen.penalties, fold, features, y)
            for place, i in enumerate(indices):
                started[i].append((job, place))
    for i in sorted(twins):
        started[i] = started[twins[i]]
    return [started[i] for i in range(len(z))]


def _twins(z: Sequence[Tensor]) -> dict[int, int]:
    """Cut points with the features of the one below, and that one; they are fitted once.

    A source's own pooling often repeats what pooling the block below gives.
    """
    return {
        i: i - 1 for i in range(1, len(z)) if z[i].shape == z[i - 1].shape and z[i].equal(z[i - 1])
    }


def _heads(
    inputs: Activations,
    penalties: Sequence[float],
    fold: Fold,
    features: Sequence[tuple[Tensor, Sequence[Tensor]]],
    y: Tensor,
) -> list[Answered]:
    """What heads answer of a fold, for each of some cut points; all is fitted inside the fold.

    features: of each, what is pooled of the pool, and of every view of it that is trained on.
    """
    import torch

    from tlsweep.heads.head import standardisation

    train = inputs.train
    fitted_on, held_out = [], []
    for z, views in features:
        z_fit = torch.cat([view[fold.fit] for view in views])
        mean, scale = (t.to(z.dtype) for t in standardisation([z_fit]))
        fitted_on.append((z_fit - mean) * scale)
        held_out.append((z[fold.held_out] - mean) * scale)
    y_fit = torch.cat([y[fold.fit]] * len(features[0][1]))
    task = inputs.question.task
    fitted = probe.fit_heads(fitted_on, y_fit, task, train, penalties, fold.subsets_sn)
    # other views of the image that is left out would stay in
    alone = len(views_of(train)) == 1
    return [
        Answered(
            heads.logits(z_held_out),
            heads.left_out.tolist() if heads.left_out is not None and alone else None,
            int((~heads.converged).sum()),
        )
        for heads, z_held_out in zip(fitted, held_out, strict=True)
    ]


def gathered(
    inputs: Activations,
    chosen: SurveySettings,
    folds: Sequence[Fold],
    weights: str,
    index: int,
    answered: Sequence[Answered],
) -> tuple[list[Row], Frozen, Outcome]:
    """The rows of a cut point, its penalty, and what it answers out of fold."""
    question, penalties, subsets = inputs.question, chosen.penalties, len(folds[0].sizes)
    name, y = question.cuts[index].name, question.target.labels[question.partition.held_out]
    if unsettled := sum(a.unsettled for a in answered):
        text = f"{unsettled} heads at {name} were given up before they reached their optimum"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    logits_hnk = np.concatenate([a.logits_hnk.numpy() for a in answered], axis=1)
    task = question.task
    scores_hn = np.stack([task.example_scores(z, y) for z in logits_hnk])
    kind = probe.probe_kind(task, inputs.train)
    losses_hn = np.stack([task.probe_losses(kind, z, y) for z in logits_hnk])
    sizes = np.array([len(fold.held_out) for fold in folds])
    whole = slice(None, None, subsets)  # the first subset is all
    fold_n = np.repeat([fold.number for fold in folds], sizes)
    nested = nested_penalty(penalties, scores_hn[whole], losses_hn[whole], fold_n)
    outcome = _outcome(logits_hnk[whole], penalties, nested, sizes)
    held_out = np.concatenate(list(outcome.held_out.values()))
    point = Frozen(
        cut=name,
        index=index,
        weights=weights,
        head=kind,
        regularisation=nested.overall,
        score=float(task.example_scores(held_out, y).mean()),
        loss=float(task.probe_losses(kind, held_out, y).mean()),
        edge=nested.edge,
    )
    means = scores_hn.mean(1), losses_hn.mean(1)
    return _rows(point, penalties, folds, means, answered), point, outcome


def _rows(
    point: Frozen,
    penalties: Sequence[float],
    folds: Sequence[Fold],
    means_h: tuple[Any, Any],
    answered: Sequence[Answered],
) -> list[Row]:
    """A row for every penalty and subset of a cut point. means_h: scores and losses of heads."""
    subsets, seeds = folds[0].sizes, folds[0].seeds
    scores_h, losses_h = means_h
    sizes = np.array([len(fold.held_out) for fold in folds])
    return [
        Row(
            cut=point.cut,
            index=point.index,
            weights=point.weights,
            head=point.head,
            regularisation=penalty,
            fit_size=size,
            seed=seeds[s],
            score=float(scores_h[p * len(subsets) + s]),
            loss=float(losses_h[p * len(subsets) + s]),
            left_out=_left_out(answered, p * len(subsets) + s, sizes),
        )
        for p, penalty in enumerate(penalties)
        for s, size in enumerate(subsets)
    ]


def _outcome(
    logits_pnk: Logits, penalties: Sequence[float], nested: Nested, sizes: np.ndarray[Any, Any]
) -> Outcome:
    """What a cut point answers of each fold, at the penalty that was chosen without it."""
    part_n = np.repeat(np.arange(len(sizes)), sizes)
    if len(sizes) == 1:  # one holdout is halved
        part_n = np.arange(len(part_n)) % len(nested.chosen)
    place_n = np.array([penalties.index(p) for p in nested.chosen])[part_n]
    answered = logits_pnk[place_n, np.arange(len(part_n))]
    return Outcome(dict(enumerate(np.split(answered, np.cumsum(sizes)[:-1]))))


def _left_out(answered: Sequence[Answered], head: int, sizes: np.ndarray[Any, Any]) -> float | None:
    known = [a.left_out[head] for a in answered if a.left_out is not None]
    return float(np.average(known, weights=sizes)) if len(known) == len(answered) else None


@dataclass(frozen=True)
class Refitted:
    """The head of a frozen cut point, fitted to the whole pool.

    mean_d, scale_d: of the pool's features, which standardise all others.
    """

    mean_d: Tensor
    scale_d: Tensor
    heads: Heads

    def answers(self, z_nd: Tensor) -> Logits:
        """What it answers to features [n, d]: [n, outputs]."""
        logits: Logits = self.heads.logits((z_nd - self.mean_d) * self.scale_d)[0].numpy()
        return logits


def refit(inputs: Activations, penalties: Mapping[int, float]) -> dict[int, Refitted]:
    """Frozen heads, fitted to the whole pool. penalties: of each cut point that is asked for."""
    from tlsweep.survey.workers import workers

    indices = sorted(penalties)
    _, views, y = features_of(inputs, indices)
    with workers() as pool:
        jobs = [
            pool.submit(_refitted, inputs, penalties[index], columns, y)
            for index, *columns in zip(indices, *views, strict=True)
        ]
        return {index: job.result() for index, job in zip(indices, jobs, strict=True)}


def answers(inputs: Activations, refitted: Mapping[int, Refitted]) -> dict[int, Logits]:
    """What refitted heads answer of the report split, from one pass over it for all."""
    indices = sorted(refitted)
    z_report = inputs.pooled(Split.REPORT, indices)
    return {i: refitted[i].answers(z_nd) for i, z_nd in zip(indices, z_report, strict=True)}


def _refitted(inputs: Activations, penalty: float, views: Sequence[Tensor], y: Tensor) -> Refitted:
    import torch

    from tlsweep.heads.head import standardisation

    z_fit = torch.cat(list(views))
    mean, scale = (t.to(z_fit.dtype) for t in standardisation([z_fit]))
    set_, y_fit = (z_fit - mean) * scale, torch.cat([y] * len(views))
    (heads,) = probe.fit_heads([set_], y_fit, inputs.question.task, inputs.train, [penalty])
    return Refitted(mean, scale, heads)


def _known_of_source(
    inputs: Activations, z: Sequence[Tensor]
) -> tuple[Tensor | None, list[Tensor] | None]:
    """What its own classifier says of the pool, and features of its own images.

    Not for a worker: models are built with random numbers of their own, which all threads share.
    """
    spoken = source_probabilities(inputs.question, z[-1])
    return spoken, inputs.source_features(SAMPLED)


def _transfer(
    question: Question,
    z: Sequence[Tensor],
    y: Tensor,
    spoken: Tensor | None,
    sampled: list[Tensor] | None,
) -> list[Any]:
    return transfer_scores(question.cuts.names, z, y, question.task, spoken, sampled)
