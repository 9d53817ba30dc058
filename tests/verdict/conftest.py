"""Measurements whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from tlsweep.facts import Facts
from tlsweep.verdict import Evidence, Tried, cost_of, kind_of

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
def plan(facts: Callable[..., Facts]) -> Callable[..., Tried]:
    """A plan that is right on given shares of 100 pool images, in 5 folds, and 200 report images.

    seeds: of its final trainings, by what share each is right; report may be one share for all.
    """

    def make(
        out_of_fold: float, report: float | Sequence[float] | None, *,
        controls: tuple[str, ...] = (), candidate: bool = True, settled: bool = True, **own: Any,
    ) -> Tried:  # fmt: skip
        scores = np.full((5, 100), np.nan)
        for fold in range(5):
            scores[fold, 20 * fold : 20 * fold + 20] = np.arange(20) < round(20 * out_of_fold)
        shares = [report] * 3 if isinstance(report, float) else report
        table = shares and np.stack([np.arange(200) < round(200 * share) for share in shares])
        found = facts(**own)
        return Tried(
            facts=found,
            overrides=(f"plan={found.name}", f"plan.keep={found.keep_name}", "train.lr=0.01"),
            controls=controls,
            evidence=Evidence(
                name=f"{found.name} {found.keep_name}",
                scores_rn=scores,
                losses_rn=np.where(np.isnan(scores), np.nan, 1.5 - scores),
                fold_r=np.arange(5),
                cost=cost_of(found),
                kind=kind_of(found),
                control=not candidate,
                deterministic=found.is_deterministic,
            ),
            report_rn=None if table is None else table.astype(float),
            settled=settled,
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
