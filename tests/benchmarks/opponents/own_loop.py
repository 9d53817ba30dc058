"""(b) An expert's loop a trial: eval, no_grad prefix, channels last, AdamW on the head."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from job import (
    BATCH,
    LEARNING_RATE,
    Images,
    Job,
    Outcome,
    Place,
    accuracy,
    channels_last,
    shuffled,
)
from torch import Tensor
from torch.nn import functional

from opponents.trial import Trial, sampled

Features = Callable[[Tensor], Tensor]
"""Images [b, C, H, W] to features [b, d], without a graph."""


def own_loop(job: Job) -> Outcome:
    """Time it on a sample of its trials."""
    return sampled(job, job.effort.loop_cuts, _train, all_epochs=True)


def _train(job: Job, images: Images, place: Place, epochs: int) -> Trial:
    backbone = job.backbone(place[0]).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def features(x_bchw: Tensor) -> Tensor:
        z_bd: Tensor = backbone(channels_last(x_bchw))
        return z_bd

    return train_head(job, images, place, epochs, features)


def train_head(job: Job, images: Images, place: Place, epochs: int, features: Features) -> Trial:
    """Train one head on what ``features`` gives, batch by batch; evaluate at the end."""
    began, watch = time.perf_counter(), []
    cut, penalty, seed = place
    torch.manual_seed(seed)
    rows, head = job.draw(seed), job.head(cut)
    optimizer = torch.optim.AdamW(head.parameters(), lr=LEARNING_RATE, weight_decay=penalty)
    for _ in range(epochs):
        epoch = time.perf_counter()
        for batch in shuffled(rows):
            loss = functional.cross_entropy(
                head(features(images.x_fit[batch])), images.y_fit[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        watch.append(time.perf_counter() - epoch)
    head.eval()
    with torch.no_grad():
        # no larger batches than before: torchcache's buffer does not grow for new images
        parts = [head(features(x)) for x in images.x_select.split(BATCH)]
    score = accuracy(torch.cat(parts), images.y_select)
    return Trial(time.perf_counter() - began, tuple(watch), score)
