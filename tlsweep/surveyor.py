"""The survey of a sweep: every cut point frozen, answered from one pass over the data."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tlsweep import config, inputs, probe
from tlsweep.config import Settings
from tlsweep.files import write_whole
from tlsweep.fixed import inherited
from tlsweep.plan import TransferPlan
from tlsweep.question import Question
from tlsweep.session import Session
from tlsweep.study.ledger import Item, Ledger
from tlsweep.study.space import Space
from tlsweep.survey.rows import Findings, Row, merit
from tlsweep.survey.transfer import transfer_scores
from tlsweep.terms import Split, Stage
from tlsweep.trial import known_result

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from torch import Tensor

    from tlsweep.train.head import Head

SURVEY_FILE = "survey.json"
SAMPLED = 500  # of the source's own images, for Frechet distances
KEEP, TUNED = "plan.keep", "truncate_tuned"
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
        with workers(_abreast(question, settings, draws, z_fit)) as pool:
            heads = _started(pool, question, settings, draws, y_fit, z_fit, z_select)
            scores = None
            if seed is inputs.SOURCE:
                scores = pool.submit(_transfer, question, settings, z_fit, y_fit)
            for index in indices:
                found, right = heads[index].result()
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


def _abreast(question: Question, settings: Settings, draws: _Draws, z_fit: Sequence[Tensor]) -> int:
    """How many cut points are worth fitting at a time."""
    from tlsweep.survey.logistic import SMALL, evaluation

    heads = len(settings.sweep.survey.penalties) * len(draws.sizes)
    n_classes = len(question.target.class_names)
    return 1 if max(evaluation(z, heads, n_classes) for z in z_fit) < SMALL else len(z_fit)


def _started(
    pool: Executor,
    question: Question,
    settings: Settings,
    draws: _Draws,
    y_fit: Tensor,
    z_fit: Sequence[Tensor],
    z_select: Sequence[Tensor],
) -> list[Future[Fitted]]:
    """The heads of each cut point, under way; the widest first, which take longest.

    A source's own pooling often repeats what pooling the block below gives: fitted once.
    """
    started: dict[int, Future[Fitted]] = {}
    twins = {
        i: i - 1
        for i in range(1, len(z_fit))
        if all(z[i].shape == z[i - 1].shape and z[i].equal(z[i - 1]) for z in (z_fit, z_select))
    }
    for i in sorted(range(len(z_fit)), key=lambda i: -z_fit[i].shape[1]):
        if i not in twins:
            # made here: it draws weights, and workers would disturb each other's generator
            head = question.head(_truncated(question, i), settings.train, settings.seed)
            job = question, settings, draws, i, head, y_fit, z_fit[i], z_select[i]
            started[i] = pool.submit(_heads, *job)
    for i in sorted(twins):
        started[i] = started[twins[i]]
    return [started[i] for i in range(len(z_fit))]


def _heads(
    question: Question,
    settings: Settings,
    draws: _Draws,
    index: int,
    head: Head,
    y_fit: Tensor,
    z_fit: Tensor,
    z_select: Tensor,
) -> Fitted:
    """The rows of one cut point, and for each which select images are right."""
    train, penalties = settings.train, settings.sweep.survey.penalties
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


# ---------------------------------------------------------------------- its place in a sweep
def enter_survey(s: Session, ledger: Ledger, room: int) -> Findings:
    """Survey, write survey.json, and enter the best plans into the study, once.

    room: how many of them count as trials. A session that goes on asks again: the features are in
    the store, so that costs no pass.
    """
    findings, hits = survey(s.question, s.settings, s.shown.step)
    write_whole(s.folder / SURVEY_FILE, (json.dumps(findings.as_json(), indent=1) + "\n").encode())
    for overrides in _frozen_plans(findings, room):
        item = Item.of(overrides)
        if not ledger.knows(item):
            lines = [*inherited(s.plain, overrides), *overrides, f"stage={Stage.SURVEY}"]
            settings = config.read(s.bench.compose([*lines, f"study={s.settings.study_name}"]))
            plan = s.question.plan(settings.plan)
            right = hits["random" if plan.random_weights else "source", plan.keep]
            known = known_result(settings, s.question, s.record, s.parent_run, right)
            ledger.add_finished(item, *known)
    return findings


def guide(s: Session, ledger: Ledger, findings: Findings, where: Space) -> Space:
    """Let the survey's ranking say where tuned plans are looked for.

    The search keeps the ``sweep.explore`` share of the cut points that score best frozen, and the
    last one, and first tries the two best. Where sweep.params names some cut points, rather than
    all, those are all searched.
    """
    names, ranking = s.question.cuts.names, findings.ranking()
    most = math.ceil(s.settings.sweep.explore * len(ranking))
    if ledger.recall("open") is None:  # a search goes on among the cut points it began with
        ledger.remember("open", [names[i] for i in {*ranking[:most], s.question.cuts.n_blocks}])
    if set(names) <= set(where.listed(KEEP)):
        where = where.narrowed(KEEP, ledger.recall("open"))
    best = [names[i] for i in ranking if i > 0 and names[i] in where.listed(KEEP)]
    tuned = {"plan": TUNED} if TUNED in where.listed("plan") else {}
    ledger.hint([{KEEP: name, **tuned} for name in best[:2]])
    return where


def _frozen_plans(findings: Findings, room: int) -> list[tuple[str, ...]]:
    """The overrides of the surveyed plans that enter the study, best first.

    Random weights where the source's own are best, the last cut point, which is a control, and
    the others with their best heads as far as there is room.
    """
    best, order = findings.best(), findings.ranking()
    last, random = max(order), findings.best("random")
    above_input = [i for i in order if i > 0]
    plans = [_overrides("random_features", random[above_input[0]])] if random else []
    plans = plans[: max(0, room - 1)]
    wanted = list(dict.fromkeys([order[0], last, *order]))[: room - len(plans)]
    return [*(_overrides("truncate", best[i]) for i in order if i in wanted), *plans]


def _overrides(plan: str, row: Row) -> tuple[str, ...]:
    penalty = f"train.probe_penalty={row.regularisation}"
    return f"plan={plan}", f"plan.keep={row.cut}", "train.head=linear", penalty
