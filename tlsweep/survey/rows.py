"""What a survey found: one row a head that was fitted, and the scores of each cut point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Place = tuple[str, int]  # weights (source or random) and the index of a cut point


@dataclass(frozen=True)
class Row:
    """One head on one frozen prefix.

    cut, index: of the cut point; weights: ``source`` or ``random``; head: ``logistic`` or
    ``ridge``; regularisation: its ``train.probe_penalty``; fit_size: images that it was fitted to
    (in the first fold); seed: which draw of them, 0 where it is all; score, loss: accuracy and log
    loss out of fold, over the whole pool; left_out: accuracy on the images it was fitted to, each
    left out in turn (exact; of ridge alone, and where each has one view).
    """

    cut: str
    index: int
    weights: str
    head: str
    regularisation: float
    fit_size: int
    seed: int
    score: float
    loss: float
    left_out: float | None = None


@dataclass(frozen=True)
class Frozen:
    """A cut point, frozen, with the penalty that suits it.

    regularisation: what all folds together choose, for a head on the whole pool; edge: whether that
    is an end of what was tried; score, loss: out of fold, each fold with the penalty that the other
    folds choose.
    """

    cut: str
    index: int
    weights: str
    head: str
    regularisation: float
    score: float
    loss: float
    edge: bool


@dataclass(frozen=True)
class Mix:
    """A head on a mix of the features of all cut points: no plan, for it reads the whole network.

    fraction: of the features that are kept; regularisation: of the head on these; features, of: how
    many are kept, of how many; score, loss: out of fold, each fold with the share and the penalty
    that the other folds choose; scores: of each example, as they were held out.
    """

    fraction: float
    regularisation: float
    features: int
    of: int
    score: float
    loss: float
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Findings:
    """A survey's result.

    rows: every head; frozen: every cut point; transfer: transferability scores by name for each
    cut point in order; mix: a head on all cut points at once, where it was asked for.
    """

    rows: tuple[Row, ...]
    frozen: tuple[Frozen, ...]
    transfer: tuple[dict[str, Any], ...]
    seconds: float
    mix: Mix | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "frozen": [asdict(point) for point in self.frozen],
            "rows": [asdict(row) for row in self.rows],
            "transfer": list(self.transfer),
            "seconds": self.seconds,
            "mix": None if self.mix is None else asdict(self.mix),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Findings:
        """What ``as_json`` wrote. Raises KeyError or TypeError for anything else."""
        rows = tuple(Row(**row) for row in content["rows"])
        frozen = tuple(Frozen(**point) for point in content["frozen"])
        told = content.get("mix")
        mix = None if told is None else Mix(**{**told, "scores": tuple(told["scores"])})
        return cls(rows, frozen, tuple(content["transfer"]), content["seconds"], mix)

    def curve(self, weights: str = "source") -> dict[int, Frozen]:
        """Every cut point with these weights, by its index."""
        return {point.index: point for point in self.frozen if point.weights == weights}

    def penalties(self) -> dict[int, float]:
        """What suits each cut point with the source's weights, for a head on the whole pool."""
        return {index: point.regularisation for index, point in self.curve().items()}

    def ranking(self, weights: str = "source") -> list[int]:
        """Indices of the cut points, best out of fold first; of equals the lower loss."""
        curve = self.curve(weights)
        return sorted(curve, key=lambda i: (-curve[i].score, curve[i].loss, i))
