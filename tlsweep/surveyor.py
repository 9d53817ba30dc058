"""The survey of a sweep: every cut point frozen, answered from one pass over the data."""

from __future__ import annotations

import time
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
    from torch import Tensor

SAMPLED = 500  # of the source's own images, for Frechet distances
Say = Callable[[int, int, str], None]
Hits = dict[tuple[str, int], Any]  # (weights, cut index) to which select images are right


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
        for index in indices:
            z = z_fit[index], z_select[index]
            found, right = _heads(question, settings, draws, index, y_fit, *z)
            whole = range(0, len(found), len(draws.sizes))  # of each penalty the first subset: all
            hits[weights, index] = right[max(whole, key=lambda i: merit(found[i]))]
            rows += [replace(row, weights=weights) for row in found]
            say(len(hits), total, f"survey: heads at {found[0].cut}")
        if seed is inputs.SOURCE:
            transfer = _transfer(question, settings, z_fit, y_fit)
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


def _heads(
    question: Question,
    settings: Settings,
    draws: _Draws,
    index: int,
    y_fit: Tensor,
    z_fit: Tensor,
    z_select: Tensor,
) -> tuple[list[Row], list[Any]]:
    """The rows of one cut point, and for each which select images are right."""
    train, penalties = settings.train, settings.sweep.survey.penalties
    head = question.head(_truncated(question, index), train, settings.seed)
    head.calibrate([z_fit])
    y_select = inputs.labels(question, Split.SELECT)
    standard = probe.standardised(head, z_fit)
    heads = probe.fit_heads(standard, y_fit, question, train, penalties, draws.subsets_sn)
    right_hn = heads.predictions(probe.standardised(head, z_select)) == y_select
    places = [(p, s) for p in penalties for s in range(len(draws.sizes))]
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
        )
        for (penalty, s), right in zip(places, right_hn, strict=True)
    ]
    return rows, [right.numpy() for right in right_hn]


def _transfer(
    question: Question, settings: Settings, z_fit: Sequence[Tensor], y_fit: Tensor
) -> list[Any]:
    n_classes = len(question.target.class_names)
    spoken = inputs.source_probabilities(question, z_fit[-1])
    sampled = inputs.source_features(question, settings, SAMPLED)
    return transfer_scores(question.cuts.names, z_fit, y_fit, n_classes, spoken, sampled)


def _truncated(question: Question, index: int) -> TransferPlan:
    return TransferPlan(index, index, index, n_blocks=question.cuts.n_blocks)
