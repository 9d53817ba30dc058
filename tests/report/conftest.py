"""Verdicts as a sweep reaches them, of a small and of a large source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tlsweep.verdict import Confirmed, Verdict, reach

DENSENET = ["input", "features.conv0", "features.norm0", "features.pool0"] + [
    f"features.{kind}{i}" for i in range(1, 5) for kind in ("denseblock", "transition", "norm",
                                                            "pool", "relu")
]  # fmt: skip


@pytest.fixture
def make_verdict() -> Callable[..., Verdict]:
    """A verdict over the cut points named: a curve that rises and falls, four controls."""

    def make(names: Sequence[str], study: str = "glyphs_to_digits", drop: float = 0.25) -> Verdict:
        rng, n = np.random.default_rng(0), len(names) - 1

        def plan(kind: str, keep: int, freeze: int, regrow: int, score: float, *,
                 controls: tuple[str, ...] = (), random: bool = False,
                 searched: bool = False) -> Confirmed:  # fmt: skip
            facts: dict[str, Any] = {
                "plan": kind, "freeze": freeze, "keep": keep, "regrow": regrow, "n_blocks": n,
                "random_weights": random, "state": "frozen" if freeze == keep else "tuned",
                "keep_name": names[keep], "kept_fraction": keep / n,
                "kept_parameters": 1200 * keep * keep, "lr": 3e-3, "lr_ratio": 0.3,
            }  # fmt: skip
            select = rng.random((1 if searched else 3, 359)) < score
            report = None if searched else rng.random((3, 719)) < score
            return Confirmed(facts, select, report, controls, candidate=not random)

        def height(keep: int, tuned: bool) -> float:
            at = keep / n
            return float(0.72 + 0.24 * np.sin(np.pi * at**0.8) ** 0.5 - drop * at**3 * (not tuned))

        plans = [plan("truncate", k, k, k, height(k, False),
                      controls=("feature_extractor",) if k == n else ())
                 for k in range(n + 1)]  # fmt: skip
        plans.append(plan("finetune", n, 0, n, 0.955, controls=("finetune",)))
        plans.append(plan("scratch", 0, 0, n, 0.90, controls=("scratch",)))
        middle = n // 2
        plans.append(plan("random_features", middle, middle, middle, 0.893,
                          controls=("random_features",), random=True))  # fmt: skip
        tuned = range(max(1, n // 3), n)
        searched = [plan("truncate_tuned", k, 0, k, height(k, True), searched=True) for k in tuned]
        return reach(study, plans, searched, rule="smallest_not_worse", confidence=0.95,
                     n_trials=22, seconds=184.2)  # fmt: skip

    return make


@pytest.fixture
def small_verdict(make_verdict: Callable[..., Verdict]) -> Verdict:
    """Eight blocks."""
    return make_verdict(["input", *(f"block{i}" for i in range(1, 9))])


@pytest.fixture
def large_verdict(make_verdict: Callable[..., Verdict]) -> Verdict:
    """24 cut points with long names."""
    return make_verdict(DENSENET, "densenet121_to_a_folder_of_my_own_images.second_try")
