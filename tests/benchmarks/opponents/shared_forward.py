"""(d) The DINOv2 way: all heads on one forward by one optimiser, recomputed each epoch.

After dinov2/eval/linear.py (Oquab et al. 2023): a list of linear heads, a parameter group each, the
sum of their losses.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from job import (
    DRAWS,
    FORWARD_BATCH,
    LEARNING_RATE,
    Images,
    Job,
    Outcome,
    Place,
    accuracy,
    shuffled,
)
from torch import Tensor, nn
from torch.nn import functional

from opponents.extractor import all_cuts, pooled


@dataclass(frozen=True)
class Heads:
    """norms: one a cut point, shared by its heads; linears: one a head, in the order of places."""

    norms: nn.ModuleList
    linears: nn.ModuleList
    places: list[Place]
    cuts: range

    def logits(self, features: list[Tensor]) -> list[Tensor]:
        """[b, classes] of every head."""
        scaled = [norm(z) for norm, z in zip(self.norms, features, strict=True)]
        by_cut = dict(zip(self.cuts, scaled, strict=True))
        pairs = zip(self.linears, self.places, strict=True)
        return [linear(by_cut[place[0]]) for linear, place in pairs]


def shared_forward(job: Job) -> Outcome:
    """The whole sweep, timed whole."""
    began = time.perf_counter()
    torch.manual_seed(0)
    images, tap, heads = job.images(), all_cuts(job), _heads(job)
    groups = [
        {"params": linear.parameters(), "weight_decay": place[1]}
        for linear, place in zip(heads.linears, heads.places, strict=True)
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    drawn_sn = torch.zeros(DRAWS, len(images.y_fit))
    for seed in range(DRAWS):
        drawn_sn[seed, job.draw(seed)] = 1
    for _ in range(job.effort.epochs):
        for batch in shuffled(torch.arange(len(images.y_fit))):
            with torch.no_grad():
                features = pooled(tap, images.x_fit[batch])
            loss = _loss(heads, features, images.y_fit[batch], drawn_sn[:, batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    scores = _scores(heads, tap, images)
    return Outcome(time.perf_counter() - began, "whole", scores)


def _heads(job: Job) -> Heads:
    places = [(c, p, s) for c in job.cuts for p in job.penalties for s in range(DRAWS)]
    width = {cut: job.question.cuts[cut].shape[0] for cut in job.cuts}
    return Heads(
        nn.ModuleList(nn.BatchNorm1d(width[cut], affine=False) for cut in job.cuts),
        nn.ModuleList(nn.Linear(width[place[0]], job.n_classes) for place in places),
        places,
        job.cuts,
    )


def _loss(heads: Heads, features: list[Tensor], y_b: Tensor, drawn_sb: Tensor) -> Tensor:
    """The sum of all heads' mean losses, each over the images of its own draw."""
    share_sb = drawn_sb / drawn_sb.sum(1, keepdim=True).clamp_min(1)
    losses = [
        (functional.cross_entropy(logits, y_b, reduction="none") * share_sb[place[2]]).sum()
        for logits, place in zip(heads.logits(features), heads.places, strict=True)
    ]
    return torch.stack(losses).sum()


@torch.no_grad()
def _scores(heads: Heads, tap: nn.Module, images: Images) -> dict[Place, float]:
    heads.norms.eval()
    parts = [heads.logits(pooled(tap, x)) for x in images.x_select.split(FORWARD_BATCH)]
    found = [torch.cat(column) for column in zip(*parts, strict=True)]
    pairs = zip(heads.places, found, strict=True)
    return {place: accuracy(logits, images.y_select) for place, logits in pairs}
