"""What a survey found: one row a head that was fitted, and the scores of each cut point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One head on one frozen prefix.

    cut, index: of the cut point; weights: ``source`` or ``random``; head: ``logistic`` or
    ``ridge``; regularisation: its ``train.probe_penalty``; fit_size: images that it was fitted to;
    seed: which draw of them, 0 where it is all; score: accuracy on the select split; left_out: that
    on the images it was fitted to, each left out in turn (exact; of ridge alone, and where each has
    one view).
    """

    cut: str
    index: int
    weights: str
    head: str
    regularisation: float
    fit_size: int
    seed: int
    score: float
    left_out: float | None = None


@dataclass(frozen=True)
class Findings:
    """A survey's result. transfer: transferability scores by name for each cut point in order."""

    rows: tuple[Row, ...]
    transfer: tuple[dict[str, Any], ...]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "transfer": list(self.transfer),
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Findings:
        """What ``as_json`` wrote. Raises KeyError or TypeError for anything else."""
        rows = tuple(Row(**row) for row in content["rows"])
        return cls(rows, tuple(content["transfer"]), content["seconds"])

    def best(self, weights: str = "source") -> dict[int, Row]:
        """For each cut point the best head on the whole fit split; of equals the most penalised."""
        whole = max(row.fit_size for row in self.rows)
        mine = (r for r in self.rows if r.weights == weights and r.fit_size == whole)
        return {index: max(rows, key=merit) for index, rows in _by_cut(mine).items()}

    def ranking(self) -> list[int]:
        """Indices of the cut points, best first; of equals the lower one."""
        best = self.best()
        return sorted(best, key=lambda index: (-best[index].score, index))


def merit(row: Row) -> tuple[float, float]:
    """What makes one head better than another on as many images: of equals the most penalised."""
    return row.score, row.regularisation


def _by_cut(rows: Iterable[Row]) -> dict[int, Sequence[Row]]:
    grouped: dict[int, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.index, []).append(row)
    return dict(grouped)
