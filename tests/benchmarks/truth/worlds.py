"""Simulated studies: the true score of every plan is known, and so is what hides it.

Probit model: an example is right where skill + easiness of the example + what this plan's blocks
make of it + luck of the training data + luck of the seed + noise > 0. Neighbouring cut points
share most of what their blocks make of an example. The sizes are those of the real data sets of
this benchmark at pools of 250: of the examples, 9 to 10 % are answered rightly by one only of two
good cut points at a score of .91, right answers of neighbours correlate with .66 (real: .6 to .7).
Over draws of n examples to train on, the score p of a plan has a variance of p (1 - p) / n times
0.25, and neighbours' scores correlate with 0.6: as the table of luck finds on real data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from tlsweep.verdict import Evidence

Scores = npt.NDArray[np.float64]
BLOCKS, FOLDS = 20, 5
EASY, OWN, NOISE = 1.0, 0.6, 0.35  # standard deviations of the latent's parts
NEAR = 0.9  # correlation of what two neighbouring cut points make of an example
TUNED_FROM = (0, 10, 14, 17)  # plans that train kept blocks: from here up
LUCK = 0.25  # variance of a score p over draws of n examples to train on, of p (1 - p) / n
SHARED = 0.6  # correlation of that luck in two neighbouring cut points
JITTER = 0.001  # spread of a world's true scores about its curve, study by study
SEEDS = 3  # new ones, on the report split


@dataclass(frozen=True)
class World:
    """True scores: frozen at cut points 0 to 20, trained from ``TUNED_FROM`` up, two controls."""

    frozen: Scores
    tuned: Scores
    scratch: float
    random: float


def level(score: float, scratch: float) -> World:
    """All plans alike, and a control that is or is not."""
    tuned = np.full(len(TUNED_FROM), score)
    return World(np.full(BLOCKS + 1, score), tuned, scratch, scratch)


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
    "all equal": level(0.85, 0.85),
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A study whose truth is known.

    true_p: the plans' expected scores on new examples; the rest is in units of the latent: its
    whole spread, that of its seeds, and each plan's skill after the luck of the training data.
    """

    plans: list[Evidence]
    true_p: Scores
    scale_p: Scores
    seed_p: Scores
    skill_p: Scores

    @property
    def given_p(self) -> Scores:
        """The plans' expected scores where they learn from just these examples, over seeds."""
        spread_p = np.sqrt(EASY**2 + OWN**2 + NOISE**2 + self.seed_p**2)
        given: Scores = stats.norm.cdf(self.skill_p / spread_p)
        return given

    def true(self, plan: Evidence) -> float:
        """Its expected score."""
        return float(self.true_p[self.place(plan)])

    def place(self, plan: Evidence) -> int:
        """Where it is among the plans."""
        return next(i for i, p in enumerate(self.plans) if p is plan)

    def report(
        self, plans: Sequence[Evidence], images: int, rng: np.random.Generator
    ) -> tuple[list[Scores], list[float]]:
        """How plans answer the same new images.

        Returns scores [seeds, images], and of each plan the true score of its first model.
        """
        easy_n = rng.normal(0, EASY, images)
        tables, firsts = [], []
        for plan in plans:
            p = self.place(plan)
            seed_r = rng.normal(0, 1, 1 if plan.deterministic else SEEDS) * self.seed_p[p]
            own_n = rng.normal(0, OWN, images) + easy_n + self.skill_p[p]
            noise_rn = rng.normal(0, NOISE, (len(seed_r), images))
            tables.append((own_n + seed_r[:, None] + noise_rn > 0).astype(float))
            spread = np.sqrt(EASY**2 + OWN**2 + NOISE**2)
            firsts.append(float(stats.norm.cdf((self.skill_p[p] + seed_r[0]) / spread)))
        return tables, firsts


def study(world: World, pool: int, seed_spread: float, rng: np.random.Generator) -> Study:
    """Draw one. pool: examples that may choose; seed_spread: of a trained plan's score."""
    true = np.concatenate([world.frozen, world.tuned, [world.scratch, world.random]])
    true = np.clip(true + rng.normal(0, JITTER, len(true)), 0.02, 0.99)
    trained = np.zeros(len(true), dtype=bool)
    trained[BLOCKS + 1 : -1] = True
    scale_p, seed_p = _scales(true, np.where(trained, seed_spread, 0.0))
    spread_p = np.sqrt(LUCK * true * (1 - true) / pool)
    data_p = spread_p / (stats.norm.pdf(stats.norm.ppf(true)) / scale_p)
    skill_p = stats.norm.ppf(true) * scale_p + data_p * _luck(len(true), rng)
    easy_n = rng.normal(0, EASY, pool)
    own_pn = _own(len(true), pool, rng)
    fold_n = rng.permutation(np.arange(pool) % FOLDS)
    plans = []
    for p, name in enumerate(_names()):
        # four fifths of the data are the same in two folds' training: half a spread is their own
        of_fold = np.hypot(seed_p[p], 0.5 * data_p[p]) * rng.normal(size=FOLDS)
        noise_n = rng.normal(0, NOISE, pool)
        latent_n = skill_p[p] + easy_n + own_pn[p] + noise_n + of_fold[fold_n]
        plans.append(_evidence(name, latent_n, fold_n, p, trained=bool(trained[p])))
    return Study(plans, true, scale_p, seed_p, skill_p)


def _scales(true_p: Scores, spread_p: Scores) -> tuple[Scores, Scores]:
    """Standard deviation of the latent, and of the seeds' part of it, for such spreads of scores.

    Over all that is drawn the mean score is then ``true_p`` exactly.
    """
    share_p = np.minimum(spread_p / stats.norm.pdf(stats.norm.ppf(true_p)), 0.7) ** 2
    fixed = EASY**2 + OWN**2 + NOISE**2
    return np.sqrt(fixed / (1 - share_p)), np.sqrt(fixed * share_p / (1 - share_p))


def _names() -> list[str]:
    frozen = [f"frozen {i}" for i in range(BLOCKS + 1)]
    return [*frozen, *(f"tuned from {i}" for i in TUNED_FROM), "scratch", "random features"]


def _luck(plans: int, rng: np.random.Generator) -> Scores:
    """Luck of the training data, in its own units: neighbouring cut points share some of it."""
    luck = rng.normal(size=plans)
    for p in range(1, BLOCKS + 1):
        luck[p] = SHARED * luck[p - 1] + np.sqrt(1 - SHARED**2) * luck[p]
    return luck


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
    name: str, latent_n: Scores, fold_n: npt.NDArray[np.int64], p: int, *, trained: bool
) -> Evidence:
    """A trained plan was searched on fold 0, which does not count."""
    folds = np.arange(1 if trained else 0, FOLDS)
    held = fold_n == folds[:, None]
    scores = np.where(held, latent_n > 0, np.nan)
    losses = np.where(held, np.logaddexp(0, -2 * latent_n), np.nan)
    control = name in ("frozen 0", "scratch", "random features")
    kind = "frozen" if not trained else "fresh" if name == "scratch" else "tuned"
    cost = (float(min(p, BLOCKS)), float(p) if trained else 0.0)
    return Evidence(name, scores, losses, folds, cost, kind, control, not trained)
