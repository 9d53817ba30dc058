"""(e) torchcache around the frozen backbone: one loop a trial, trials of a cut share its cache."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from job import DRAWS, Job, Outcome, Place, channels_last
from torch import Tensor, nn

from opponents.own_loop import Features, train_head
from opponents.trial import between, chosen, decoded

MISSING = "not measured: torchcache is not installed (pip install -e '.[bench]')"


def cached_module(job: Job) -> Outcome:
    """Time the first and the second trial at some cut points: the second finds all in the cache."""
    if find_spec("torchcache") is None:
        return Outcome(float("nan"), MISSING, {})
    images, decoding = decoded(job)
    cuts = chosen(job, job.effort.cached_cuts)
    first: list[float] = []
    later: list[float] = []
    scores: dict[Place, float] = {}
    for cut in cuts:
        features = _cached(job.backbone(cut))
        for penalty, seconds in zip(job.penalties[:2], (first, later), strict=True):
            trial = train_head(job, images, (cut, penalty, 0), job.effort.epochs, features)
            seconds.append(trial.seconds)
            scores[cut, penalty, 0] = trial.score
    more = len(job.penalties) * DRAWS - 1
    total = decoding + between(job, cuts, first) + more * between(job, cuts, later)
    timed = f"{2 * len(cuts)} of {job.heads:,} trials, {job.effort.epochs} epochs"
    return Outcome(total, timed, scores)


def _cached(backbone: nn.Module) -> Features:
    from torchcache import torchcache

    @torchcache()
    class Cached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # it refuses modules with parameters that ask for gradients
            self.backbone = backbone.requires_grad_(False).to(memory_format=torch.channels_last)

        def forward(self, x_bchw: Tensor) -> Tensor:
            z_bd: Tensor = self.backbone(channels_last(x_bchw))
            return z_bd

    module = Cached().eval()

    @torch.no_grad()
    def features(x_bchw: Tensor) -> Tensor:
        z_bd: Tensor = module(x_bchw)
        return z_bd

    return features
