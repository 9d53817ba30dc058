"""Real data: how much the score of a plan depends on which images were labelled.

The report split stays the same half of all images, pools are drawn from the other half: what a
plan's score varies by is the draw of its pool. Frozen heads, whose training has no other luck.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from data import Images, digits, folder, hymenoptera, rsscn7
from heads import fitted
from sklearn.model_selection import train_test_split
from table import Table

from tlsweep.verdict.evidence import LUCK_OF_LABELS

DRAWS = 20
Open = Callable[[Path], Images]
SETS: dict[str, tuple[Open, tuple[int, ...]]] = {
    "digits": (lambda real: digits(), (100, 200, 600)),
    "hymenoptera": (hymenoptera, (100,)),
    "rsscn7": (rsscn7, (100, 200, 600)),
    "sign_digits": (lambda real: folder(real, "sign_digits", "sign_digits", 64), (100, 200, 600)),
    "caltech101_25": (lambda real: folder(real, "caltech101_25", "caltech101_25", 64), (200, 600)),
}
COLUMNS = (
    "data, labelled images", "best cut point: score, %", "spread, points", "said",
    "pixels: score, %", "spread, points", "said", "best less pixels: spread", "said",
    "share, all cut points", "neighbours correlate",
)  # fmt: skip


def luck_of_labels(draws: int | None, real: Path | None, say: Callable[[str], None]) -> list[Table]:
    """A row a data set and a size of the pool. real: folder of real data; None: digits alone."""
    rows, shares, likes = [], [], []
    for name, (open_it, sizes) in SETS.items():
        if real is None and name != "digits":
            continue
        images = open_it(real or Path())
        for size in sizes:
            about = f"{name}, {size}"
            score_dc = _scores(images, size, draws or DRAWS, partial(_say, say, about))
            row, share, like = _row(about, size, score_dc)
            rows.append(row)
            shares.append(share)
            likes.append(like)
    notes = [
        f"Half of all images are the report split, always the same; {draws or DRAWS} pools are"
        " drawn from the other half. Spread: standard deviation over pools; said: what the verdict"
        f" reckons with, {LUCK_OF_LABELS:g} p (1 - p) / n as a variance, p the score and n the"
        " labelled images, and for a difference the sum of both plans'.",
        "Share: the variance over pools in units of p (1 - p) / n, mean of all cut points."
        f" Mean of the rows: {np.mean(shares):.2f}. Neighbouring cut points' scores correlate over"
        f" pools; mean of the rows: {np.mean(likes):.2f}.",
        "Frozen heads at the penalty that is best on average.",
    ]
    return [Table("Real data: the luck of the labelled images", COLUMNS, rows, notes)]


def _scores(
    images: Images, size: int, draws: int, say: Callable[[str], None]
) -> npt.NDArray[np.float64]:
    """Report scores [draws, cut points]."""
    y = images.labels
    rest, report = train_test_split(np.arange(len(y)), test_size=0.5, random_state=0, stratify=y)
    found = []
    for number in range(draws):
        pool, _ = train_test_split(rest, train_size=size, random_state=number, stratify=y[rest])
        (answers,) = fitted(images, pool, [report])
        found.append(answers.right.mean(2))
        say(f"draw {number + 1} of {draws}")
    score_dcp = np.array(found)
    best_c = score_dcp.mean(0).argmax(1)
    return score_dcp[:, np.arange(len(best_c)), best_c]


def _say(say: Callable[[str], None], about: str, text: str) -> None:
    say(f"{about}: {text}")


def _row(name: str, size: int, score_dc: npt.NDArray[np.float64]) -> tuple[list[str], float, float]:
    mean_c, best = score_dc.mean(0), int(score_dc.mean(0).argmax())
    unit_c = mean_c * (1 - mean_c) / size
    said_c = np.sqrt(LUCK_OF_LABELS * unit_c)
    cells = [name]
    for cut in (best, 0):
        cells.append(f"{100 * mean_c[cut]:.1f}")
        cells += [f"{100 * value:.2f}" for value in (score_dc[:, cut].std(ddof=1), said_c[cut])]
    apart = (score_dc[:, best] - score_dc[:, 0]).std(ddof=1)
    cells += [f"{100 * value:.2f}" for value in (apart, np.hypot(said_c[best], said_c[0]))]
    share = float(np.mean(score_dc.var(0, ddof=1) / unit_c))
    like_cc = np.corrcoef(score_dc.T)
    like = float(np.mean(np.diagonal(like_cc, 1)))
    return [*cells, f"{share:.2f}", f"{like:.2f}"], share, like
