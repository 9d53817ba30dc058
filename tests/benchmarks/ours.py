"""tlsweep itself, with an empty store and with a filled one, and the floor under both."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from job import DRAWS, FORWARD_BATCH, SHARE, Job, Outcome, channels_last

from tlsweep.survey.surveyor import survey
from tlsweep.terms import Split
from tlsweep.trial import resolve


class Ours:
    """``survey()``. Each cold one gets a store of its own; a warm one finds the last cold one's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder

    def cold(self, job: Job) -> Outcome:
        """From files: decoding, the pass, the heads, the transferability scores."""
        self.store = Path(tempfile.mkdtemp(dir=self.folder))
        return self._survey(job)

    def warm(self, job: Job) -> Outcome:
        """From stored features."""
        return self._survey(job)

    def _survey(self, job: Job) -> Outcome:
        settings = job.task.settings(
            f"features.cache_dir={self.store}",
            f"sweep.survey.fit_shares=[{SHARE}]",
            f"sweep.survey.seeds={DRAWS}",
        )
        inputs = resolve(settings, job.question).inputs
        began = time.perf_counter()
        findings, _ = survey(inputs, settings.sweep.survey, None, lambda *_: None)
        seconds = time.perf_counter() - began
        scores = {
            (row.index, row.regularisation, row.seed): row.score
            for row in findings.rows
            if row.index in job.cuts and row.fit_size == len(job.draw(0))
        }
        assert len(scores) == job.heads
        return Outcome(seconds, f"whole, {len(findings.rows)} heads", scores)


@torch.no_grad()
def floor(job: Job) -> Outcome:
    """Decode the images, and pass them once through the bare model, channels last, float32."""
    model = job.question.source.model().to(memory_format=torch.channels_last)
    began = time.perf_counter()
    splits = [job.question.examples(split) for split in (Split.FIT, Split.SELECT)]
    decoded = time.perf_counter()
    for images in splits:
        for rows in torch.arange(len(images)).split(FORWARD_BATCH):
            model(channels_last(images.batch(rows)[0]))
    ended = time.perf_counter()
    parts = {"decoding": decoded - began, "forward pass": ended - decoded}
    return Outcome(ended - began, "whole, no heads", {}, parts)
