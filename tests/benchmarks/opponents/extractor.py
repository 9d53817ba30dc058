"""(c) torchvision's feature extractor at all cuts once, then scikit-learn: a strong 20 lines."""

from __future__ import annotations

import time
from typing import Any

import torch
from job import DRAWS, FORWARD_BATCH, Job, Outcome, Place, channels_last
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

MOST_ITERATIONS = 1000  # all end before; scikit-learn's default of 100 is not always enough


def extractor_and_sklearn(job: Job) -> Outcome:
    """The whole sweep, timed whole."""
    began = time.perf_counter()
    images = job.images()
    tap = all_cuts(job)
    with torch.no_grad():
        z_fit, z_select = (_features(tap, x) for x in (images.x_fit, images.x_select))
    extracted = time.perf_counter()
    y_fit, y_select = images.y_fit.numpy(), images.y_select.numpy()
    scores: dict[Place, float] = {}
    for cut, z_nd, z_md in zip(job.cuts, z_fit, z_select, strict=True):
        for seed in range(DRAWS):
            rows = job.draw(seed).numpy()
            scale = StandardScaler().fit(z_nd[rows])
            z, z_held_out = scale.transform(z_nd[rows]), scale.transform(z_md)
            for penalty in job.penalties:
                model = LogisticRegression(C=1 / (len(rows) * penalty), max_iter=MOST_ITERATIONS)
                model.fit(z, y_fit[rows])
                scores[cut, penalty, seed] = float(model.score(z_held_out, y_select))
    ended = time.perf_counter()
    parts = {"decoding and features": extracted - began, "heads": ended - extracted}
    return Outcome(ended - began, "whole", scores, parts)


def all_cuts(job: Job) -> nn.Module:
    """The source with an output for every cut point, channels last."""
    names = [job.question.cuts[i].name for i in job.cuts]
    tap: nn.Module = create_feature_extractor(job.question.source.model(), names)
    return tap.eval().to(memory_format=torch.channels_last)


def pooled(tap: nn.Module, x_bchw: Tensor) -> list[Tensor]:
    """Globally averaged features [b, d] of every cut point."""
    return [z.mean((2, 3)) for z in tap(channels_last(x_bchw)).values()]


def _features(tap: nn.Module, x_nchw: Tensor) -> list[Any]:
    parts = [pooled(tap, x) for x in x_nchw.split(FORWARD_BATCH)]
    return [torch.cat(column).numpy() for column in zip(*parts, strict=True)]
