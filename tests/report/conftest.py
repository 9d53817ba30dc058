"""Verdicts as a sweep reaches them, of a small and of a large source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tlsweep.verdict import Choice, Interval, Standing, Tried, Verdict, reach

DENSENET = ["input", "features.conv0", "features.norm0", "features.pool0"] + [
    f"features.{kind}{i}" for i in range(1, 5) for kind in ("denseblock", "transition", "norm",
                                                            "pool", "relu")
]  # fmt: skip


@pytest.fixture
def make_verdict(facts: Callable[..., dict[str, Any]]) -> Callable[..., Verdict]:
    """A verdict over the cut points named: a curve that rises and falls, five controls."""

    def make(names: Sequence[str], study: str = "glyphs_to_digits", drop: float = 0.25) -> Verdict:
        rng, n = np.random.default_rng(0), len(names) - 1

        def plan(kind: str, keep: int, freeze: int, regrow: int, score: float, *,
                 controls: tuple[str, ...] = (), random: bool = False,
                 seeds: int = 1, candidate: bool = True) -> Tried:  # fmt: skip
            found = facts(kind, keep=keep, freeze=freeze, regrow=regrow, random=random, n_blocks=n,
                          keep_name=names[keep], kept_fraction=keep / n)  # fmt: skip
            return Tried(
                found,
                (f"plan={kind}", f"plan.keep={names[keep]}", "train.lr=0.003"),
                controls,
                candidate,
                np.zeros(1, np.int64),
                (rng.random((1, 359)) < score).astype(float),
                rng.random((1, 359)),
                (rng.random((seeds, 719)) < score).astype(float) if seeds else None,
                settled=kind != "scratch",
            )

        def height(keep: int, tuned: bool) -> float:
            at = keep / n
            return float(0.72 + 0.24 * np.sin(np.pi * at**0.8) ** 0.5 - drop * at**3 * (not tuned))

        control = {0: ("raw_pixels",), n: ("feature_extractor",)}
        middle = n // 2
        tried = [plan("truncate", k, k, k, height(k, False), controls=control.get(k, ()),
                      candidate=k > 0) for k in range(n + 1)]  # fmt: skip
        tried += [
            plan("finetune", n, 0, n, 0.955, controls=("finetune",), seeds=3),
            plan("scratch", 0, 0, n, 0.90, controls=("scratch",), seeds=3, candidate=False),
            plan("random_features", middle, middle, middle, 0.893, controls=("random_features",),
                 random=True, seeds=3, candidate=False),
            plan("truncate_tuned", middle, 0, middle, 0.95, seeds=0),
        ]  # fmt: skip
        standing = Standing(Interval(0.01, -0.01, 0.03), 0.2, 0.01)
        # the finetuned whole is best, and half of it, frozen, as good
        chosen = Choice(n + 1, middle, (standing,) * len(tried), margin=0.02, more_images=None)
        return reach(study, chosen, tried, confidence=0.95, majority=0.12, n_trials=22,
                     seconds=184.2)  # fmt: skip

    return make


@pytest.fixture
def small_verdict(make_verdict: Callable[..., Verdict]) -> Verdict:
    """Eight blocks."""
    return make_verdict(["input", *(f"block{i}" for i in range(1, 9))])


@pytest.fixture
def large_verdict(make_verdict: Callable[..., Verdict]) -> Verdict:
    """24 cut points with long names."""
    return make_verdict(DENSENET, "densenet121_to_a_folder_of_my_own_images.second_try")
