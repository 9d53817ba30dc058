"""Answers and truths of each kind of task."""

from __future__ import annotations

import numpy as np

from tlsweep.task import Classes, Labels, Numbers, Outputs, Task, Truth

Drawn = tuple[Task, Outputs, Truth]
KINDS = ("classes", "two classes", "labels", "one label", "numbers", "two numbers")


def drawn(kind: str, n: int, seed: int = 0) -> Drawn:
    """A task of a kind with ``n`` random answers, some right and some not."""
    rng = np.random.default_rng(seed)
    if "class" in kind:
        k = 2 if kind == "two classes" else 12
        y = rng.integers(0, k, n)
        return Classes(k), (rng.normal(size=(n, k)) + 2 * np.eye(k)[y]).astype(np.float32), y
    m = 1 if "one" in kind else 4
    if "label" in kind:
        truth = rng.random((n, m)) < 0.3
        logits = rng.normal(size=(n, m)) + 2 * truth - 1
        # with ties, as bfloat16 gives them
        return Labels(m), np.round(logits, 1).astype(np.float32), truth
    m = 2 if kind == "two numbers" else 1
    numbers = rng.normal(40, 12, (n, m))
    said = (numbers + rng.normal(0, 5, (n, m))).astype(np.float32)
    return Numbers(m, spread=12.0, unit="degrees"), said, numbers
