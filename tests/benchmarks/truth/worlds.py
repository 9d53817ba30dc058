"""Simulated studies: the true score of every plan is known, and so is what hides it.

Probit model: an example is right where skill + easiness of the example + what this plan's blocks
make of it + luck of the training data + luck of the seed + noise > 0. Neighbouring cut points
share most of what their blocks make of an example, as real ones do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from tlsweep.verdict.evidence import Evidence

Scores = npt.NDArray[np.float64]
BLOCKS, FOLDS = 20, 5
EASY, OWN, NOISE = 1.0, 0.6, 0.35  # standard deviations of the latent's parts
NEAR = 0.9  # correlation of what two neighbouring cut points make of an example
TUNED_FROM = (0, 10, 14, 17)  # plans that train kept blocks: from here up
DATA = 0.006  # spread of a score over draws of 200 examples to train on
JITTER = 0.003  # spread of a world's true scores about its curve, study by study


@dataclass(frozen=True)
class World:
    """True scores: frozen at each of the cut points 0 to 20, trained for ``TUNED_FROM``, scratch."""

    frozen: Scores
    tuned: Scores
    scratch: float
    random: float


def _curve(*points: tuple[float, float]) -> Scores:
    at, score = zip(*points, strict=True)
    return np.interp(np.arange(BLOCKS + 1), at, score)


WORLDS: Mapping[str, World] = {
    "middle best": World(
        _curve((0, 0.60), (4, 0.78), (8, 0.86), (12, 0.90), (16, 0.87), (20, 0.80)),
        np.array([0.86, 0.87, 0.86, 0.84]), 0.72, 0.70,
    ),
    "last best, near": World(
        _curve((0, 0.55), (6, 0.70), (12, 0.80), (17, 0.88), (20, 0.92)),
        np.array([0.90, 0.905, 0.91, 0.915]), 0.66, 0.62,
    ),
    "last best, far": World(
        _curve((0, 0.45), (6, 0.60), (12, 0.66), (17, 0.71), (20, 0.74)),
        np.array([0.80, 0.79, 0.775, 0.76]), 0.62, 0.55,
    ),
    "transfer hurts": World(
        _curve((0, 0.85), (3, 0.84), (8, 0.82), (14, 0.80), (20, 0.76)),
        np.array([0.82, 0.815, 0.80, 0.78]), 0.86, 0.84,
    ),
    "all equal": World(
        np.full(BLOCKS + 1, 0.85), np.full(len(TUNED_FROM), 0.85), 0.85, 0.85
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A study whose truth is known: true_p are the plans' expected scores on new images."""

    plans: list[Evidence]
    true_p: Scores


def study(world: World, pool: int, seed_spread: float, rng: np.random.Generator) -> Study:
    """Draw one. pool: examples that may choose; seed_spread: of a trained plan's score."""
    true = np.concatenate([world.frozen, world.tuned, [world.scratch, world.random]])
    true = np.clip(true + rng.normal(0, JITTER, len(true)), 0.02, 0.99)
    trained = np.zeros(len(true), dtype=bool)
    trained[BLOCKS + 1 : -1] = True
    scale_p, seed_p = _scales(true, np.where(trained, seed_spread, 0.0))
    data_p = DATA * np.sqrt(200 / pool) / _slopes(true, scale_p)
    luck_p = data_p * rng.normal(size=len(true))
    easy_n = rng.normal(0, EASY, pool)
    own_pn = _own(len(true), pool, rng)
    fold_n = rng.permutation(np.arange(pool) % FOLDS)
    plans = []
    for p, name in enumerate(_names()):
        folds = range(1, FOLDS) if trained[p] else range(FOLDS)
        # four fifths of the data are the same in two folds' training: half a spread is their own
        of_fold = np.hypot(seed_p[p], 0.5 * data_p[p]) * rng.normal(size=FOLDS)
        skill = stats.norm.ppf(true[p]) * scale_p[p] + luck_p[p]
        latent_n = skill + easy_n + own_pn[p] + rng.normal(0, NOISE, pool) + of_fold[fold_n]
        plans.append(_evidence(name, latent_n, fold_n, list(folds), p, bool(trained[p])))
    return Study(plans, true)


def _scales(true_p: Scores, spread_p: Scores) -> tuple[Scores, Scores]:
    """Standard deviation of the latent, and of the seeds' part of it, for such spreads of scores.

    Over all that is drawn the mean score is then ``true_p`` exactly.
    """
    share_p = np.minimum(spread_p / stats.norm.pdf(stats.norm.ppf(true_p)), 0.7) ** 2
    fixed = EASY**2 + OWN**2 + NOISE**2
    return np.sqrt(fixed / (1 - share_p)), np.sqrt(fixed * share_p / (1 - share_p))


def _slopes(true_p: Scores, scale_p: Scores) -> Scores:
    """How much score a unit of the latent is."""
    slopes: Scores = stats.norm.pdf(stats.norm.ppf(true_p)) / scale_p
    return slopes


def _names() -> list[str]:
    frozen = [f"frozen {i}" for i in range(BLOCKS + 1)]
    return [*frozen, *(f"tuned from {i}" for i in TUNED_FROM), "scratch", "random features"]


def _own(plans: int, pool: int, rng: np.random.Generator) -> Scores:
    """What each plan's blocks make of each example: neighbours alike, tuned like what they tune."""
    own = np.empty((plans, pool))
    own[0] = rng.normal(0, OWN, pool)
    left = np.sqrt(1 - NEAR**2)
    for p in range(1, BLOCKS + 1):
        own[p] = NEAR * own[p - 1] + left * rng.normal(0, OWN, pool)
    for p in range(BLOCKS + 1, plans):
        like = own[BLOCKS] if p < plans - 2 else rng.normal(0, OWN, pool)
        own[p] = np.sqrt(0.5) * like + np.sqrt(0.5) * rng.normal(0, OWN, pool)
    return own


def _evidence(
    name: str,
    latent_n: Scores,
    fold_n: npt.NDArray[np.int64],
    folds: list[int],
    p: int,
    trained: bool,
) -> Evidence:
    held = fold_n == np.array(folds)[:, None]
    scores = np.where(held, latent_n > 0, np.nan)
    losses = np.where(held, np.logaddexp(0, -2 * latent_n), np.nan)
    at = BLOCKS if p > BLOCKS else p
    control = name in ("frozen 0", "scratch", "random features")
    kind = "frozen" if not trained else "fresh" if name == "scratch" else "tuned"
    cost = (float(at), float(at if trained else 0))
    return Evidence(name, scores, losses, np.array(folds), cost, kind, control, not trained)


Draw = Callable[[np.random.Generator], Study]
