"""Probes: linear heads on frozen blocks, fitted to their optimum. No epochs, no learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tlsweep.extract.activations import USUAL, Variant
from tlsweep.plan import TransferPlan
from tlsweep.terms import Split
from tlsweep.train.settings import TrainSettings
from tlsweep.trial.resolved import Resolved

if TYPE_CHECKING:
    from torch import Tensor

    from tlsweep.heads.head import Head
    from tlsweep.heads.logistic import Heads
    from tlsweep.task import Task


def is_probe(plan: TransferPlan, train: TrainSettings) -> bool:
    """Whether nothing but a linear head is trained."""
    return not plan.trained and train.head == "linear"


def probe_kind(task: Task, train: TrainSettings) -> str:
    """Which linear head is fitted: ``train.probe``, or the one that the task usually has."""
    return task.probes[0] if train.probe == "auto" else train.probe


def starts_at_probe(plan: TransferPlan, train: TrainSettings) -> bool:
    """Whether training starts from the head that is fitted to the kept blocks, frozen.

    Linear probe, then fine-tune (Kumar et al. 2022): the first step starts at the frozen plan's
    score, so that it does not tear apart what was kept. Not where fresh blocks lie below the head,
    nor where the blocks are random: there is nothing to save. Nor where BatchNorm takes the
    statistics of each batch: what reaches the head is then not what it was fitted to.
    """
    kept = 0 < plan.keep == plan.regrow and not plan.random_weights
    wanted = train.head == "linear" and train.head_init == "probe"
    return kept and wanted and train.batch_norm == "source"


def fit_probe(
    trial: Resolved, splits: Sequence[Split]
) -> tuple[dict[str, float], dict[Split, Any]]:
    """Fit the head of an all-frozen plan, to the images as they are or to all views of them.

    Returns the metrics that an epoch of training would give, and for each of ``splits`` the logits
    [images, classes].
    """
    return _answers(trial, *_fitted(trial, trial.plan, splits))


def fitted_head(trial: Resolved, plan: TransferPlan) -> Head:
    """The head of an all-frozen plan at its optimum on the fit split of a trial."""
    return _fitted(trial, plan, [])[0]


def _fitted(
    trial: Resolved, plan: TransferPlan, splits: Sequence[Split]
) -> tuple[Head, Tensor, Tensor, dict[Split, Tensor]]:
    """The fitted head, what it was fitted to with its labels, and the features of ``splits``."""
    question, train, inputs = trial.question, trial.train, trial.inputs
    variant = Variant.of(plan, trial.seed)
    # in a sweep every other cut point will be asked for, too: one pass for all of them
    together = trial.in_sweep and variant == USUAL and bool(trial.features.budget_gb)
    indices = range(len(question.cuts)) if together else [plan.regrow]
    mine = plan.regrow if together else 0
    found, y = inputs.fitted(indices, variant)
    z_fit = found[mine]
    z = {s: inputs.pooled(s, indices, variant)[mine] for s in splits}
    head = question.head(plan, train, trial.seed).eval()  # dropout is of training alone
    head.calibrate([z_fit])
    head.calibrate_outputs(y)
    sets, penalties = [standardised(head, z_fit)], [train.probe_penalty]
    (heads,) = fit_heads(sets, y, question.task, train, penalties)
    head.set_linear(heads.weight[0], heads.bias[0])
    return head, z_fit, y, z


def _answers(
    trial: Resolved, head: Head, z_fit: Tensor, y: Tensor, z: Mapping[Split, Tensor]
) -> tuple[dict[str, float], dict[Split, Any]]:
    import torch

    task = trial.task
    with torch.no_grad():
        fit_loss = float(task.loss(head(z_fit), y))
        logits = {split: head(z_nd) for split, z_nd in z.items()}
    metrics = {
        "fit_loss": fit_loss,
        "frozen_blocks": float(trial.plan.freeze),
    }
    if Split.SELECT in logits:
        chosen, y_select = logits[Split.SELECT], trial.inputs.labels(Split.SELECT)
        metrics["select_loss"] = float(task.loss(chosen, y_select))
        value = task.score(chosen.numpy(), y_select.numpy())
        metrics[f"select_{task.metric.name}"] = value
    return metrics, {split: z_nk.numpy() for split, z_nk in logits.items()}


def standardised(head: Head, z_nd: Tensor) -> Tensor:
    """Pooled features as the linear layer of ``head`` sees them."""
    return (z_nd - head.mean) * head.scale


def fit_heads(
    sets: Sequence[Tensor],
    y_n: Tensor,
    task: Task,
    train: TrainSettings,
    penalties: Sequence[float],
    subsets_sn: Tensor | None = None,
) -> list[Heads]:
    """For each set of standardised features [n, d] the heads of ``probe_kind``.

    They are ordered by penalty, then by subset. subsets_sn: bool, s subsets of the n examples;
    default one of all.
    """
    from tlsweep.heads.logistic import fit_labels, fit_side_by_side, together

    balance = train.class_weights == "balanced"
    if probe_kind(task, train) == "logistic":
        weights = _balanced(y_n, task, subsets_sn) if balance else subsets_sn
        if task.kind == "labels":
            return fit_labels(sets, y_n, penalties, weights)
        return fit_side_by_side(sets, y_n, task.n_outputs, penalties, weights)
    rows = [slice(None)] if subsets_sn is None else list(subsets_sn)
    return [
        together([_ridge(z[r], y_n[r], task, penalties, balance=balance) for r in rows])
        for z in sets
    ]


def _balanced(y_n: Tensor, task: Task, subsets_sn: Tensor | None) -> Tensor:
    """What each example counts in each subset, [s, n], or each of its labels, [s, n, m]."""
    import torch

    y = y_n.numpy()
    rows = np.ones((1, len(y)), dtype=bool) if subsets_sn is None else subsets_sn.bool().numpy()
    found = []
    for row in rows:
        weights = task.balanced(y[row]).example_weights(y)
        found.append(weights * row.reshape(-1, *[1] * (weights.ndim - 1)))
    return torch.from_numpy(np.stack(found))


def _ridge(
    z_nd: Tensor, y_n: Tensor, task: Task, penalties: Sequence[float], *, balance: bool
) -> Heads:
    import torch

    from tlsweep.heads.ridge import fit_ridge

    y = y_n.numpy()
    weights = torch.from_numpy(task.balanced(y).example_weights(y)) if balance else None
    path = fit_ridge(z_nd, torch.from_numpy(task.regressed(y)), penalties, weights)
    scores = [task.example_scores(left_out.numpy(), y).mean() for left_out in path.left_out]
    return replace(path.heads, left_out=torch.tensor(scores))
