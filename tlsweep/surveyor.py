"""The survey of a sweep: every cut point frozen, answered from one pass over the data."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tlsweep import inputs, probe
from tlsweep.config import Settings
from tlsweep.plan import TransferPlan
from tlsweep.question import Question
from tlsweep.survey.rows import Findings, Row, merit
from tlsweep.survey.transfer import transfer_scores
from tlsweep.terms import Split

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from torch import Tensor

    from tlsweep.train.head import Head

SAMPLED = 500  # of the source's own images, for Frechet distances
Say = Callable[[int, int, str], None]
Hits = dict[tuple[str, int], Any]  # (weights, cut index) to which select images are right
Fitted = tuple[list[Row], list[Any]]  # the rows of a cut point, and their hits


@dataclass(frozen=True)
class _Draws:
    """Subsets of the fit split, the first one all of it.

    sizes: in images; seeds: of each; subsets_sn: bool, n = views * images.
    """

    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    subsets_sn: Tensor


def survey(question: Question, settings: Settings, say: Say) -> tuple[Findings, Hits]:
    """Fit heads on every cut point, all penalties and shares of the fit split at once.

    say: told (done, total, what). Returns what was found, and what the best head on the whole fit
    split gets right of the select split: bool [images] for each cut point.
    """
    from tlsweep.survey.workers import workers

    began = time.monotonic()
    indices = range(len(question.cuts))
    draws = _draws(question, settings)
    rows: list[Row] = []
    hits: Hits = {}
    transfer: list[dict[str, Any]] = []
    passes: dict[str, int | None] = {"source": inputs.SOURCE}
    if settings.sweep.survey.random:
        passes["random"] = settings.seed
    total = len(passes) * len(indices)
    for weights, seed in passes.items():
        said = [_passing(say, f"{weights} weights, {s}") for s in (Split.FIT, Split.SELECT)]
        z_fit, y_fit = inputs.fitted(question, settings, indices, seed, said[0])
        z_select = inputs.pooled(question, Split.SELECT, settings, indices, seed, said[1])
        known = _known_of_source(question, settings, z_fit) if seed is inputs.SOURCE else None
        with workers() as pool:
            scores = known and pool.submit(_transfer, question, z_fit, y_fit, *known)
            heads = _started(pool, question, settings, draws, y_fit, z_fit, z_select)
            for index in indices:
                job, place = heads[index]
                found, right = job.result()[place]
                found = [replace(row, cut=question.cuts[index].name, index=index) for row in found]
                whole = range(0, len(found), len(draws.sizes))  # the first subset is all
                hits[weights, index] = right[max(whole, key=lambda i: merit(found[i]))]
                rows += [replace(row, weights=weights) for row in found]
                say(len(hits), total, f"survey: heads at {found[0].cut}")
            if scores is not None:
                transfer = scores.result()
    return Findings(tuple(rows), tuple(transfer), round(time.monotonic() - began, 3)), hits


def _passing(say: Say, what: str) -> Callable[[int, int], None]:
    return lambda done, total: say(done, total, f"survey: one pass, {what} split")


def _draws(question: Question, settings: Settings) -> _Draws:
    import torch

    from tlsweep.target.partition import subset

    y = question.target.labels[question.partition.fit]
    sizes, seeds, subsets = [len(y)], [0], [torch.ones(len(y), dtype=torch.bool)]
    chosen = settings.sweep.survey
    for share in sorted(chosen.fit_shares, reverse=True):
        for seed in range(chosen.seeds):
            size = max(round(share * len(y)), len(question.target.class_names))
            drawn = torch.zeros(len(y), dtype=torch.bool)
            drawn[torch.from_numpy(subset(y, size, seed))] = True
            sizes.append(size)
            seeds.append(seed)
            subsets.append(drawn)
    # all views of an image are drawn with it
    views = len(inputs.views_of(settings.train))
    return _Draws(tuple(sizes), tuple(seeds), torch.stack(subsets).repeat(1, views))


def _started(
    pool: Executor,
    question: Question,
    settings: Settings,
    draws: _Draws,
    y_fit: Tensor,
    z_fit: Sequence[Tensor],
    z_select: Sequence[Tensor],
) -> list[tuple[Future[list[Fitted]], int]]:
    """For each cut point the job that fits its heads, under way, and its place in the job.

    The widest come first: they take longest.
    """
    from tlsweep.survey.logistic import batches

    twins = _twins(z_fit, z_select)
    once = [i for i in range(len(z_fit)) if i not in twins]
    heads = len(settings.sweep.survey.penalties) * len(draws.sizes)
    n_classes = len(question.target.class_names)
    started: dict[int, tuple[Future[list[Fitted]], int]] = {}
    for batch in batches([z_fit[i] for i in once], heads, n_classes):
        indices = [once[place] for place in batch]
        # made here: they draw weights, and workers would disturb each other's generator
        made = [
            question.head(_truncated(question, i), settings.train, settings.seed) for i in indices
        ]
        features = [(head, z_fit[i], z_select[i]) for i, head in zip(indices, made, strict=True)]
        job = pool.submit(_heads, question, settings, draws, indices, features, y_fit)
        for place, i in enumerate(indices):
            started[i] = job, place
    for i in sorted(twins):
        started[i] = started[twins[i]]
    return [started[i] for i in range(len(z_fit))]


def _twins(z_fit: Sequence[Tensor], z_select: Sequence[Tensor]) -> dict[int, int]:
    """Cut points with the features of the one below, and that one; they are fitted once.

    A source's own pooling often repeats what pooling the block below gives.
    """
    return {
        i: i - 1
        for i in range(1, len(z_fit))
        if all(z[i].shape == z[i - 1].shape and z[i].equal(z[i - 1]) for z in (z_fit, z_select))
    }


def _heads(
    question: Question,
    settings: Settings,
    draws: _Draws,
    indices: Sequence[int],
    features: Sequence[tuple[Head, Tensor, Tensor]],
    y_fit: Tensor,
) -> list[Fitted]:
    """For each of some cut points its rows, and for each row which select images are right.

    features: of each, the head that standardises, and what is pooled of the fit and select splits.
    """
    train, penalties = settings.train, settings.sweep.survey.penalties
    y_select = inputs.labels(question, Split.SELECT)
    for head, z_fit, _ in features:
        head.calibrate([z_fit])
    sets = [probe.standardised(head, z_fit) for head, z_fit, _ in features]
    fitted = probe.fit_heads(sets, y_fit, question, train, penalties, draws.subsets_sn)
    if n_open := sum(int((~heads.converged).sum()) for heads in fitted):
        names = ", ".join(question.cuts[i].name for i in indices)
        text = f"{n_open} heads at {names} were given up before they reached their optimum"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    places = [(p, s) for p in penalties for s in range(len(draws.sizes))]
    # other views of the image that is left out would stay in
    alone = len(inputs.views_of(train)) == 1
    found = []
    for index, heads, (head, _, z_select) in zip(indices, fitted, features, strict=True):
        right_hn = heads.predictions(probe.standardised(head, z_select)) == y_select
        rows = [
            Row(
                cut=question.cuts[index].name,
                index=index,
                weights="source",
                head=train.probe,
                regularisation=penalty,
                fit_size=draws.sizes[s],
                seed=draws.seeds[s],
                score=float(right.double().mean()),
                left_out=float(heads.left_out[i]) if heads.left_out is not None and alone else None,
            )
            for i, ((penalty, s), right) in enumerate(zip(places, right_hn, strict=True))
        ]
        found.append((rows, [right.numpy() for right in right_hn]))
    return found


def _known_of_source(
    question: Question, settings: Settings, z_fit: Sequence[Tensor]
) -> tuple[Tensor | None, list[Tensor] | None]:
    """What its own classifier says of the fit split, and features of its own images.

    Not for a worker: models are built with random numbers of their own, which all threads share.
    """
    n = len(question.partition.fit)
    spoken = inputs.source_probabilities(question, z_fit[-1][:n])
    return spoken, inputs.source_features(question, settings, SAMPLED)


def _transfer(
    question: Question,
    z_fit: Sequence[Tensor],
    y_fit: Tensor,
    spoken: Tensor | None,
    sampled: list[Tensor] | None,
) -> list[Any]:
    n, n_classes = len(question.partition.fit), len(question.target.class_names)
    first = [z[:n] for z in z_fit]  # views of one image are no independent examples
    return transfer_scores(question.cuts.names, first, y_fit[:n], n_classes, spoken, sampled)


def _truncated(question: Question, index: int) -> TransferPlan:
    return TransferPlan(index, index, index, n_blocks=question.cuts.n_blocks)
