"""A linear head on a mix of the features of all cut points (Head2Toe, Evci et al. 2022).

Told beside the plans: it is none, since it reads the whole network. All is chosen out of fold.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlsweep.extract.activations import Activations
from tlsweep.survey.rows import Mix
from tlsweep.terms import Split
from tlsweep.trial import probe
from tlsweep.verdict import nested_penalty

if TYPE_CHECKING:
    from torch import Tensor

    from tlsweep.task import Task
    from tlsweep.task.outcome import Logits
    from tlsweep.train.settings import TrainSettings

FRACTIONS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)  # of all features, kept; of equals the last


def mix(
    inputs: Activations,
    penalties: Sequence[float],
    folds: Sequence[tuple[Tensor, Tensor]],
    views: Sequence[Sequence[Tensor]],
    z: Sequence[Tensor],
    y: Tensor,
) -> Mix:
    """What a mix of all cut points answers out of fold, with the share of features that suits it.

    folds: of each the places in the pool that are fitted, and those that are held out; views: of
    the pool, pooled at every cut point, each that is trained on; z: of the pool as it is; y: its
    labels. A fold's share of features and its penalty are those that the other folds choose.
    """
    question, train = inputs.question, inputs.train
    task, layers = question.task, layers_of(z)
    candidates = list(itertools.product(FRACTIONS, sorted(penalties)))
    answered = []
    for fit, held_out in folds:
        shown = [[view[i][fit] for view in views] for i in layers]
        given, asked = joined(shown, [z[i][held_out] for i in layers])
        y_fit = y[fit].repeat(len(views), *[1] * (y.ndim - 1))
        answered.append(_answers(given, asked, y_fit, task, train, candidates))
    logits_hnk = np.concatenate(answered, axis=1)
    truth = question.target.labels[question.partition.held_out]
    kind = probe.probe_kind(task, train)
    scores_hn = np.stack([task.example_scores(one, truth) for one in logits_hnk])
    losses_hn = np.stack([task.probe_losses(kind, one, truth) for one in logits_hnk])
    fold_n = np.repeat(np.arange(len(folds)), [len(held_out) for _, held_out in folds])
    # of equal candidates the later one: fewer features, more penalty
    nested = nested_penalty([*map(float, range(len(candidates)))], scores_hn, losses_hn, fold_n)
    fraction, penalty = candidates[int(nested.overall)]
    total = sum(z[i].shape[1] for i in layers)
    return Mix(
        fraction=fraction,
        regularisation=penalty,
        features=_kept(fraction, total),
        of=total,
        score=float(nested.scores_n.mean()),
        loss=float(nested.losses_n.mean()),
        scores=tuple(nested.scores_n.tolist()),
    )


def refit_mix(inputs: Activations, found: Mix) -> Logits:
    """What it answers of the report split when it is fitted to the whole pool."""
    from tlsweep.survey.surveyor import features_of

    question, indices = inputs.question, range(len(inputs.question.cuts))
    z, views, y = features_of(inputs, indices)
    z_report, layers = inputs.pooled(Split.REPORT, indices), layers_of(z)
    shown = [[view[i] for view in views] for i in layers]
    given, asked = joined(shown, [z_report[i] for i in layers])
    y_fit = y.repeat(len(views), *[1] * (y.ndim - 1))
    candidates = [(found.fraction, found.regularisation)]
    answered: Logits = _answers(given, asked, y_fit, question.task, inputs.train, candidates)[0]
    return answered


def layers_of(z: Sequence[Tensor]) -> list[int]:
    """The cut points that are mixed: above the input, and not with the features of the one below.

    A source's own pooling often repeats what pooling the block below gives.
    """
    return [
        i
        for i in range(1, len(z))
        if z[i].shape != z[i - 1].shape or not bool(z[i].equal(z[i - 1]))
    ]


def joined(shown: Sequence[Sequence[Tensor]], asked: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The features of all layers side by side: of what is fitted, and of what is asked.

    Each feature is standardised by what is fitted, each example's features of a layer have unit
    norm, and all are scaled alike, so that a feature varies by about 1 and penalties mean what they
    mean elsewhere. shown: of each layer the features of every view, [n, d].
    """
    import torch

    from tlsweep.heads.head import standardisation

    given, wanted = [], []
    for views, z_asked in zip(shown, asked, strict=True):
        z_fit = torch.cat(list(views))
        mean, scale = (t.to(z_fit.dtype) for t in standardisation([z_fit]))
        given.append(_unit((z_fit - mean) * scale))
        wanted.append(_unit((z_asked - mean) * scale))
    wide = (sum(z.shape[1] for z in given) / len(given)) ** 0.5
    return torch.cat(given, 1) * wide, torch.cat(wanted, 1) * wide


def _unit(z_nd: Tensor) -> Tensor:
    length_n1: Tensor = z_nd.norm(dim=1, keepdim=True)
    return z_nd / length_n1.clamp_min(1e-12)


def _kept(fraction: float, total: int) -> int:
    return max(1, round(fraction * total))


def _answers(
    given: Tensor,
    asked: Tensor,
    y: Tensor,
    task: Task,
    train: TrainSettings,
    candidates: Sequence[tuple[float, float]],
) -> Any:
    """What heads answer, [h, n, outputs], a head a candidate: a share of features and a penalty."""
    order = ranked(given, y, task, train)
    found = {}
    for fraction in dict.fromkeys(fraction for fraction, _ in candidates):
        kept = order[: _kept(fraction, len(order))]
        own = [penalty for one, penalty in candidates if one == fraction]
        (heads,) = probe.fit_heads([given[:, kept]], y, task, train, own)
        for penalty, logits_nk in zip(own, heads.logits(asked[:, kept]), strict=True):
            found[fraction, penalty] = logits_nk.numpy()
    return np.stack([found[candidate] for candidate in candidates])


def ranked(given: Tensor, y: Tensor, task: Task, train: TrainSettings) -> Tensor:
    """Places of the features, the one that counts most first."""
    import torch

    from tlsweep.heads.group_lasso import relevance

    truth, weights = y.numpy(), None
    if train.class_weights == "balanced":
        weights = torch.from_numpy(task.balanced(truth).example_weights(truth))
    t_nk = torch.from_numpy(task.regressed(truth))
    counts_d: Tensor = relevance(given, t_nk, task.kind, weights)
    return counts_d.argsort(descending=True, stable=True)
