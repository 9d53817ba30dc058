"""Measurements whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from tlsweep.verdict import Confirmed, Evidence

Draw = Callable[..., npt.NDArray[np.bool_]]


@pytest.fixture
def draw_hits() -> Draw:
    """Hits [replicates, images] of a crossed layout with a mean accuracy that is known.

    Probit model: a hit where skill + seed effect + image easiness + noise > 0, all normal. Over
    new seeds and new images the accuracy is then exactly ``accuracy``.
    """

    def draw(
        rng: np.random.Generator,
        accuracy: float,
        replicates: int,
        images: int,
        seed_sd: float,
        image_sd: float,
        easiness: npt.NDArray[np.float64] | None = None,
    ) -> npt.NDArray[np.bool_]:
        scale = np.sqrt(1 + seed_sd**2 + image_sd**2)
        skill = stats.norm.ppf(accuracy) * scale
        easy = rng.normal(0, image_sd, images) if easiness is None else easiness
        seeds = rng.normal(0, seed_sd, replicates)
        noise = rng.normal(0, 1, (replicates, images))
        return np.asarray(skill + seeds[:, None] + easy[None] + noise > 0)

    return draw


@pytest.fixture
def facts() -> Callable[..., dict[str, Any]]:
    """A trial's facts for a plan of a source with 8 blocks."""

    def make(plan: str = "truncate", *, keep: int, freeze: int | None = None,
             regrow: int | None = None, random: bool = False) -> dict[str, Any]:  # fmt: skip
        freeze, regrow = keep if freeze is None else freeze, keep if regrow is None else regrow
        return {
            "plan": plan, "freeze": freeze, "keep": keep, "regrow": regrow, "n_blocks": 8,
            "random_weights": random, "state": "frozen" if freeze == keep else "tuned",
            "freeze_name": f"block{freeze}", "keep_name": f"block{keep}",
            "regrow_name": f"block{regrow}", "kept_fraction": keep / 8,
            "kept_parameters": 1000 * keep, "lr": 3e-3, "lr_ratio": 0.1,
        }  # fmt: skip

    return make


@pytest.fixture
def confirmed(facts: Callable[..., dict[str, Any]]) -> Callable[..., Confirmed]:
    """A confirmed plan that is right on given shares of 100 select and 200 report images."""

    def make(
        select: float, report: float | None, *, controls: tuple[str, ...] = (),
        candidate: bool = True, replicates: int = 3, **plan: Any,
    ) -> Confirmed:  # fmt: skip
        def table(share: float, images: int) -> npt.NDArray[np.bool_]:
            row = np.arange(images) < round(share * images)
            return np.tile(row, (replicates, 1))

        return Confirmed(
            facts=facts(**plan),
            select_hits=table(select, 100),
            report_hits=None if report is None else table(report, 200),
            controls=controls,
            candidate=candidate,
        )

    return make


Make = Callable[..., Evidence]


@pytest.fixture(scope="session")
def evidence() -> Make:
    """Evidence of a plan from one score an example: fold k is the examples k, k + folds, ..."""

    def make(
        name: str, scores: npt.ArrayLike, *, folds: int = 5, scored: Sequence[int] | None = None,
        losses: npt.ArrayLike | None = None, cost: tuple[float, float] = (1.0, 0.0), **more: Any,
    ) -> Evidence:  # fmt: skip
        score_n = np.asarray(scores, dtype=float)
        loss_n = 1 - score_n if losses is None else np.asarray(losses, dtype=float)
        fold_r = np.array(range(folds) if scored is None else scored)
        held = np.arange(len(score_n)) % folds == fold_r[:, None]
        tables = (np.where(held, values, np.nan) for values in (score_n, loss_n))
        return Evidence(name, *tables, fold_r, cost, **{"deterministic": True, **more})

    return make
