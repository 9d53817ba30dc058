"""The survey of a sweep: every cut point frozen, answered from one pass over the data."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlsweep import inputs, probe
from tlsweep.config import Settings
from tlsweep.plan import TransferPlan
from tlsweep.question import Question
from tlsweep.survey.rows import Findings, Row
from tlsweep.terms import Split

if TYPE_CHECKING:
    from torch import Tensor

Hits = dict[tuple[str, int], Any]  # (weights, cut index) to which select images are right


@dataclass(frozen=True)
class _Draws:
    """Subsets of the fit split. sizes, seeds: of each; subsets_sn: bool; the first one is all."""

    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    subsets_sn: Tensor


def survey(
    question: Question, settings: Settings, say: Callable[[int, int, str], None]
) -> tuple[Findings, Hits]:
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
    seeds = [inputs.SOURCE, settings.seed] if settings.sweep.survey.random else [inputs.SOURCE]
    total = len(seeds) * (len(question.cuts) + 1)
    for seed in seeds:
        weights = "source" if seed is inputs.SOURCE else "random"
        say(len(hits) + len(hits) // len(indices), total, f"survey: {weights} features")
        z_fit, z_select = (
            inputs.pooled(question, split, settings.train, list(indices), seed)
            for split in (Split.FIT, Split.SELECT)
        )
        for index in indices:
            found, right = _heads(question, settings, draws, index, z_fit[index], z_select[index])
            best = max(range(len(found)), key=lambda i: _merit(found[i], draws))
            hits[weights, index] = right[best]
            rows += [Row(**{**vars(row), "weights": weights}) for row in found]
            say(len(hits) + 1 + seeds.index(seed), total, f"survey: heads at {found[0].cut}")
    return Findings(tuple(rows), tuple(transfer), round(time.monotonic() - began, 3)), hits


def _merit(row: Row, draws: _Draws) -> tuple[bool, float, float]:
    return row.fit_size == draws.sizes[0], row.score, row.regularisation


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
    return _Draws(tuple(sizes), tuple(seeds), torch.stack(subsets))


def _heads(
    question: Question,
    settings: Settings,
    draws: _Draws,
    index: int,
    z_fit: Tensor,
    z_select: Tensor,
) -> tuple[list[Row], list[Any]]:
    """The rows of one cut point, and for each which select images are right."""
    train, penalties = settings.train, settings.sweep.survey.penalties
    head = question.head(_truncated(question, index), train, settings.seed)
    head.calibrate([z_fit])
    y_fit, y_select = (inputs.labels(question, split) for split in (Split.FIT, Split.SELECT))
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
            score=float(right.float().mean()),
        )
        for (penalty, s), right in zip(places, right_hn, strict=True)
    ]
    return rows, [right.numpy() for right in right_hn]


def _truncated(question: Question, index: int) -> TransferPlan:
    return TransferPlan(index, index, index, n_blocks=question.cuts.n_blocks)


def frozen_plans(findings: Findings, question: Question, room: int) -> Sequence[tuple[str, ...]]:
    """The overrides of the surveyed plans that enter the study as its first trials, best first.

    Each cut point with its best head, as many as there is ``room`` for; the last cut point, which
    is a control, among them; then random weights where the source's own are best.
    """
    best, order = findings.best(), findings.ranking()
    last = question.cuts.n_blocks
    kept = order if len(order) <= room else [last, *(i for i in order if i != last)][:room]
    plans = [_overrides("truncate", best[i]) for i in sorted(kept, key=order.index)]
    above_input = [i for i in order if i > 0]
    random = findings.best("random")
    if random and above_input:
        plans.append(_overrides("random_features", random[above_input[0]]))
    return plans


def _overrides(plan: str, row: Row) -> tuple[str, ...]:
    return f"plan={plan}", f"plan.keep={row.cut}", f"train.probe_penalty={row.regularisation}"
