"""LEEP: how well the source's own classes predict the target's."""

from __future__ import annotations

import torch
from torch import Tensor

from tlsweep.survey.scores.checks import checked_classes, checked_features, class_sums

SUM_TOLERANCE = 1e-2  # bf16 probabilities sum to 1 no closer than that


def leep(source_probabilities_nk: Tensor, y_n: Tensor) -> float:
    """Mean log-likelihood, in nats, of the target classes given the source's k probabilities.

    source_probabilities_nk: what the source's own classifier says of each example, rows that sum
    to 1; y_n: class indices [n]. At most 0, higher is better; at least minus the entropy of the
    target classes. It looks at the source's classifier, so it belongs to the whole source, not to
    a cut point.
    Nguyen, Hassner, Seeger and Archambeau 2020, "LEEP: A New Measure to Evaluate Transferability
    of Learned Representations".

    Raises ValueError for rows that are no probabilities, fewer than two examples, a single class,
    or lengths that differ.
    """
    source_nk = checked_features(source_probabilities_nk, what="source probabilities")
    y = checked_classes(y_n, len(source_nk), source_nk.device)
    sums_n1 = source_nk.sum(1, keepdim=True)
    if float(source_nk.min()) < 0:
        raise ValueError(f"source probability {float(source_nk.min()):.4g}; none is below 0")
    off = float((sums_n1 - 1).abs().max())
    if off > SUM_TOLERANCE:
        raise ValueError(f"a row of source probabilities is {off:.4g} off its sum of 1; softmax it")
    source_nk = source_nk / sums_n1
    joint_ck = class_sums(source_nk, y)
    given_ck = joint_ck / joint_ck.sum(0).clamp_min(torch.finfo(joint_ck.dtype).tiny)
    return float((given_ck[y] * source_nk).sum(1).log().mean())
